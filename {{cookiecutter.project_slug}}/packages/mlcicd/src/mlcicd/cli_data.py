"""The commands ``ml data``: where the raw files are stored, what is here of them, and fetching them."""

from __future__ import annotations

from pathlib import Path

import typer

from mlcicd import entry
from mlcicd.rendering.console import show

app = typer.Typer(help="Where the raw files are stored; fetch them.")
ROOT = Path()


def _names() -> list[str]:
    from mlcicd.contract import document as contracts

    return [str(obj.physicalName) for obj in contracts.load(ROOT / "contract.yaml").raw]


@app.command()
def status() -> None:
    """Show each raw file's store and version; exit with 1 if one is not here, or is not what is pinned."""
    from mlcicd.sources import raw_files

    found = raw_files.status(ROOT, _names())
    width = max((len(one.name) for one in found), default=0)
    for one in found:
        here = one.problem or ("here" if one.pin.version else "here, in no commit as it is")
        label = raw_files.store_of(one.pin).LABEL
        show(f"{one.name.ljust(width)}  {label:7}  {raw_files.short(one.pin.version):20}  {here}")
    if wrong := [one for one in found if one.problem]:
        entry.stop(f"{wrong[0].name}: {wrong[0].problem}", 1)


@app.command()
def pull() -> None:
    """Fetch the raw files that are not here."""
    from mlcicd.sources import raw_files

    names = _names()
    fetched = raw_files.pull(ROOT, names)
    show(f"fetched: {', '.join(fetched)}" if fetched else f"nothing to fetch: {len(names)} raw files are here")
