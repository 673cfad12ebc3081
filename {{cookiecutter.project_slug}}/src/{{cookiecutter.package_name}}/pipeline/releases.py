"""The history at a glance: a page with every release's measures, what monitoring last found, and the model cards."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from . import card, drift_report, metrics, params
from . import contract as contracts
from .audit import RELEASE
from .blocks import Block, Chart, Report, Section, Table, Text, interval, number
from .errors import InputError
from .runs import Run, read_json

CARDS = 10  # older ones stay with their GitHub releases


def page(folder: Path, drift: Path | None = None, note: str = "") -> Report:
    """Lay out the page.

    Parameters
    ----------
    folder : one run a release, each in a folder with the release's name
    drift : the ``drift.json`` that ``ml drift`` wrote last
    note : a sentence that stands above the rest; backticks and asterisks are left out

    Raises
    ------
    InputError
        The folder holds no run.
    """
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    runs = {path.name: Run(path) for path in paths if (path / "manifest.json").is_file()}
    if not runs:
        raise InputError(f"{folder}: holds no runs; unpack each release's run.tar.gz there, in a folder of its name")
    newest_first = sorted(runs.items(), key=lambda item: int(item[1].manifest["commit_time"] or 0), reverse=True)
    tag, latest = newest_first[0]
    contract, chosen = contracts.load(latest.path / "contract.yaml"), params.load(latest.path / "params.yaml")
    labels = metrics.labels(latest.metrics["task"])
    shown = {name: labels[name] for name in latest.metrics["holdout"] if name in chosen.gates or name == "cost"}
    noted = [Text(note.translate({ord("`"): None, ord("*"): None}))] if note else []
    blocks: list[Block] = [*noted, Text(f"The latest of {len(runs)} is {tag}."), _table(newest_first, shown)]
    if len(runs) > 1:
        blocks.append(Section("Over time", [_chart(newest_first[::-1], *metric) for metric in shown.items()]))
    if drift is not None:
        blocks.append(_monitored(drift, chosen))
    blocks += [Section(name, _named(_card(run), name)) for name, run in newest_first[:CARDS]]
    return Report(f"Releases: {contract.name or contract.id}", blocks)


def _monitored(drift: Path, chosen: params.Params) -> Section:
    """What monitoring found; a file of another version, or a damaged one, costs this section and not the page."""
    try:
        seen = drift_report.report(read_json(drift), chosen.drift.model_dump())
    except (InputError, KeyError, TypeError, ValueError, AttributeError, IndexError):
        return Section("Data since training", [Text("What monitoring found last cannot be read.")])
    return Section(seen.title, seen.blocks)


def _table(runs: list[tuple[str, Run]], shown: dict[str, str]) -> Table:
    head = ["release", "day", *shown.values(), "review", "approved by"]
    rows = []
    for tag, run in runs:
        day = datetime.fromtimestamp(int(run.manifest["commit_time"] or 0), UTC).date().isoformat()
        measured = [run.metrics["holdout"].get(name) for name in shown]
        cells = [f"{number(m['value'])} ({interval(m['low'], m['high'])})" if m else "–" for m in measured]
        record = read_json(run.path / RELEASE) if (run.path / RELEASE).is_file() else {}
        approved = ", ".join(record.get("approved_by", [])) or record.get("merged_by") or "–"
        rows.append([tag, day, *cells, record.get("review") or "–", approved])
    return Table("Every release, with 95 % intervals", "ll" + "r" * len(shown) + "ll", head, rows)


def _chart(runs: list[tuple[str, Run]], name: str, label: str) -> Chart:
    """One measure, release by release, where all of them have it; the grey line is the first."""
    known = [run.metrics["holdout"][name]["value"] for _, run in runs if name in run.metrics["holdout"]]
    places = [float(place) for place in range(1, len(known) + 1)]
    first = ("the first", [known[0]] * len(known))
    return Chart(name, label, "release, oldest first", label, places, {label: known}, first)


def _card(run: Run) -> list[Block]:
    try:
        return card.card(run).blocks
    except (KeyError, InputError):  # made by an older pipeline, which measured less
        return [Text("Made by an older version of the pipeline: its model card is in its GitHub release.")]


def _named(blocks: list[Block], tag: str) -> list[Block]:
    """Blocks whose captions name the release: on one page they are several of a kind."""
    found: list[Block] = []
    for block in blocks:
        match block:
            case Section(title, inner):
                found.append(Section(f"{title}, {tag}", _named(inner, tag)))
            case Table():
                found.append(replace(block, caption=f"{block.caption}, {tag}"))
            case _:
                found.append(block)
    return found
