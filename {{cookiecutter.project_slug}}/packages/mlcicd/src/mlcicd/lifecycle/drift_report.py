"""The report of ``ml drift``, in Markdown and HTML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlcicd.core.json_files import write_json
from mlcicd.core.labels import unused
from mlcicd.lifecycle.drift import update_window
from mlcicd.rendering import html, markdown
from mlcicd.rendering.blocks import Block, Items, Report, Section, Table, Text, interval, number
from mlcicd.training.run import Run

SIGNS = {"stable": "✅", "drift": "⚠️", "contract-broken": "❌"}
HEAD = ["column", "distance", "p-value", "missing, then and now", "median, then and now", "new values"]


def write(drift: dict[str, Any], run: Run, root: Path, out: Path) -> str:
    """Write drift.json, drift.md and drift.html to an empty folder, and params.yaml if retraining is proposed."""
    content = report(drift, run.params.drift.model_dump())
    text, proposal = markdown.render(content), None
    if drift["verdict"] == "drift" and drift["window"]:
        proposal = update_window(root / "params.yaml", drift["window"])
    write_json(out / "drift.json", drift)
    (out / "drift.md").write_text(text, encoding="utf-8")
    (out / "drift.html").write_text(html.render(content), encoding="utf-8")
    if proposal:
        (out / "params.yaml").write_text(proposal, encoding="utf-8")
    return text


def report(drift: dict[str, Any], limits: dict[str, Any]) -> Report:
    """Build a drift report: drifted columns first, the others in a collapsed section."""
    blocks: list[Block] = [Text(_standing(drift))]
    if drift["violations"]:
        blocks += [Text("The new data breaks its contract:"), Items(drift["violations"])]
    columns = dict(drift["columns"])
    if drift["prediction"]:
        columns[unused("prediction", columns)] = drift["prediction"]
    ranked = sorted(columns.items(), key=lambda item: -item[1]["distance"])
    moved = [_row(name, column) for name, column in ranked if column["drift"]]
    if moved:
        blocks.append(Table("What has drifted", "lrrlll", HEAD, moved))
    if drift["performance"]:
        blocks.append(_performance(drift["performance"]))
    steady = [_row(name, column) for name, column in ranked if not column["drift"]]
    if steady:
        blocks.append(Section(f"{len(steady)} within the limits", [Table("Within the limits", "lrrlll", HEAD, steady)]))
    if columns:
        distance = f"a distance of at least {limits['distance']:g} (0: same distribution, 1: no overlap)"
        p_value = f"a p-value below {100 * limits['significance']:g} %, corrected for the number of columns"
        blocks.append(Text(f"Drift: {distance} and {p_value}."))
    return Report(f"Data since training: {drift['verdict']} {SIGNS[drift['verdict']]}", blocks)


def _standing(drift: dict[str, Any]) -> str:
    rows, window = drift["rows"], ", ".join(f"{name} {value}" for name, value in drift["window"].items())
    if not rows["new"]:
        return "The raw files break their contract, so no table was prepared or compared."
    new = f"{rows['new']:,} new rows ({window or drift['source']})"
    return f"{new} compared with the {rows['reference']:,} holdout rows."


def _row(name: str, column: dict[str, Any]) -> list[str]:
    then, now = column["missing"]
    median = " → ".join(number(value) for value in column["median"]) if column["median"] else ""
    unseen = ", ".join(f"{level} ({count:,})" for level, count in column["new_values"].items())
    missing = f"{then:.1%} → {now:.1%}" if then or now else ""
    chance = f"{column['p_adjusted']:.2g}" if column["p_adjusted"] >= 0.0001 else "< 0.0001"
    return [name, number(column["distance"]), chance, missing, median, unseen]


def _performance(measured: dict[str, Any]) -> Table:
    rows = [
        [
            metric["label"],
            f"{number(metric['before']['value'])} ({interval(metric['before']['low'], metric['before']['high'])})",
            f"{number(metric['now']['value'])} ({interval(metric['now']['low'], metric['now']['high'])})",
            "❌ worse" if metric["worse"] else "",
        ]
        for metric in measured.values()
    ]
    return Table("Performance on new rows with labels", "lrrl", ["metric", "at training", "now", ""], rows)
