"""The commands ``ml data``: where the raw files are stored, what is here of them, fetching and pinning them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlcicd import entry
from mlcicd.rendering.console import show

if TYPE_CHECKING:
    from mlcicd.contract.schema import Contract

app = typer.Typer(help="Where the raw files are stored; fetch them, and pin their versions.")
ROOT = Path()


def _contract() -> Contract:
    from mlcicd.contract import document as contracts

    return contracts.load(ROOT / "contract.yaml")


def _names(contract: Contract) -> list[str]:
    return [str(obj.physicalName) for obj in contract.raw]


@app.command()
def status() -> None:
    """Show each raw file's store and version; exit with 1 if one is not here, or is not what is pinned."""
    from mlcicd.contract import servers
    from mlcicd.sources import raw_files

    contract = _contract()
    servers.check(contract, ROOT)
    found = raw_files.status(ROOT, _names(contract))
    labels = [one.pin.location or raw_files.store_of(one.pin).LABEL for one in found]
    names, places = (max(map(len, texts), default=0) for texts in ([one.name for one in found], labels))
    for one, label in zip(found, labels, strict=True):
        here = one.problem or ("here" if one.pin.version else "here, in no commit as it is")
        version = raw_files.short(one.pin.revision or one.pin.version)
        show(f"{one.name.ljust(names)}  {label.ljust(max(places, 7))}  {version:20}  {here}")
    if wrong := [one for one in found if one.problem]:
        entry.stop(f"{wrong[0].name}: {wrong[0].problem}", 1)


@app.command()
def pull() -> None:
    """Fetch the raw files that are not here, or not as they are pinned."""
    from mlcicd.contract import servers
    from mlcicd.sources import raw_files

    contract = _contract()
    servers.check(contract, ROOT)
    names = _names(contract)
    fetched = raw_files.pull(ROOT, names)
    show(f"fetched: {', '.join(fetched)}" if fetched else f"nothing to fetch: {len(names)} raw files are here")


@app.command()
def pin(
    files: Annotated[list[str] | None, typer.Argument(help="Raw files; by default all that are at a server.")] = None,
) -> None:
    """Fetch what is at the servers of contract.yaml now, and write its versions to data.lock."""
    from mlcicd.contract import servers
    from mlcicd.core.errors import InputError
    from mlcicd.sources import raw_files

    contract = _contract()
    places = servers.declared(contract)
    for unknown in sorted(set(files or []) - places.keys()):
        raise InputError(f"{unknown}: is at no server of contract.yaml; at one are: {', '.join(places) or 'none'}")
    chosen = {name: place for name, place in places.items() if not files or name in files}
    for name, (before, after) in raw_files.pin(ROOT, chosen, set(places)).items():
        same = before == after
        show(f"{name}: {after}" + (", as before" if same else f", before {before}" if before else ""))
    if not chosen:
        names = ", ".join(obj.name for obj in contract.raw)
        show(f"nothing to pin: no server of contract.yaml is named after a raw file ({names})")
