"""A page about all releases: their metrics, the last drift report, and model cards."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from mlcicd.core import params
from mlcicd.core.errors import InputError
from mlcicd.core.json_files import read_json
from mlcicd.evaluation import metrics
from mlcicd.lifecycle import drift_report, model_card
from mlcicd.lifecycle.drift_schema import Drift
from mlcicd.rendering.blocks import Block, Chart, Report, Section, Table, Text, interval, number
from mlcicd.training.run import MANIFEST, RELEASE, Run

CARDS = 10  # model cards on the page; older ones are in their releases


def page(folder: Path, drift: Path | None = None, note: str = "") -> Report:
    """Build the page.

    Parameters
    ----------
    folder : one run per release, each in a folder with the release's name
    drift : the last ``drift.json`` of ``ml drift``
    note : a sentence to show at the top; backticks and asterisks are removed

    Raises
    ------
    InputError
        The folder holds no run.
    """
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    runs = {path.name: Run(path) for path in paths if (path / MANIFEST).is_file()}
    if not runs:
        raise InputError(f"{folder}: holds no runs; unpack each release's run.tar.gz there, in a folder of its name")
    newest_first = sorted(runs.items(), key=lambda item: int(item[1].manifest["commit_time"] or 0), reverse=True)
    tag, latest = newest_first[0]
    contract, settings = latest.contract, latest.params
    labels = metrics.labels(latest.metrics["task"])
    shown = {name: labels[name] for name in latest.metrics["holdout"] if name in settings.gates or name == "cost"}
    note_blocks = [Text(note.translate({ord("`"): None, ord("*"): None}))] if note else []
    blocks: list[Block] = [*note_blocks, Text(f"The latest of {len(runs)} is {tag}."), _table(newest_first, shown)]
    if len(runs) > 1:
        blocks.append(Section("Over time", [_chart(newest_first[::-1], *metric) for metric in shown.items()]))
    if drift is not None:
        blocks.append(_monitored(drift, settings))
    blocks += [Section(name, _named(_card(run), name)) for name, run in newest_first[:CARDS]]
    return Report(f"Releases: {contract.name or contract.id}", blocks)


def _monitored(drift: Path, settings: params.Params) -> Section:
    """Show the last drift report; an unreadable file affects only this section."""
    try:
        report = drift_report.report(read_json(drift, Drift), settings.drift.model_dump())
    except (InputError, KeyError, TypeError, ValueError, AttributeError, IndexError):
        return Section("Data since training", [Text("The last drift report cannot be read.")])
    return Section(report.title, report.blocks)


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
    """Draw one metric by release; the grey line is the first release."""
    known = [run.metrics["holdout"][name]["value"] for _, run in runs if name in run.metrics["holdout"]]
    places = [float(place) for place in range(1, len(known) + 1)]
    first = ("the first", [known[0]] * len(known))
    return Chart(name, label, "release, oldest first", label, places, {label: known}, first)


def _card(run: Run) -> list[Block]:
    try:
        return model_card.card(run).blocks
    except (KeyError, InputError):  # from an older version, which recorded less
        return [Text("Made by an older version of the pipeline: its model card is in its release.")]


def _named(blocks: list[Block], tag: str) -> list[Block]:
    """Add the release's name to titles and captions, which would repeat on the page otherwise."""
    named: list[Block] = []
    for block in blocks:
        match block:
            case Section(title, inner):
                named.append(Section(f"{title}, {tag}", _named(inner, tag)))
            case Table():
                named.append(replace(block, caption=f"{block.caption}, {tag}"))
            case _:
                named.append(block)
    return named
