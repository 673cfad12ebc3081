"""What ``ml drift`` found, as blocks for Markdown and HTML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import html, markdown, params
from .blocks import Block, Items, Report, Section, Table, Text, interval, number
from .drift import move_window
from .labels import unused
from .runs import write_json

SIGNS = {"stable": "✅", "drift": "⚠️", "contract-broken": "❌"}
HEAD = ["column", "distance", "chance", "missing, then and now", "median, then and now", "values never seen"]


def write(found: dict[str, Any], run: Path, root: Path, out: Path) -> str:
    """Write drift.json, drift.md and drift.html, and params.yaml where retraining is proposed, to an empty folder."""
    shown = report(found, params.load(run / "params.yaml").drift.model_dump())
    text, proposal = markdown.render(shown), None
    if found["verdict"] == "drift" and found["window"]:
        proposal = move_window(root / "params.yaml", found["window"])
    write_json(out / "drift.json", found)
    (out / "drift.md").write_text(text, encoding="utf-8")
    (out / "drift.html").write_text(html.render(shown), encoding="utf-8")
    if proposal:
        (out / "params.yaml").write_text(proposal, encoding="utf-8")
    return text


def report(found: dict[str, Any], limits: dict[str, Any]) -> Report:
    """Lay out a drift report: what decides first, the steady columns folded."""
    blocks: list[Block] = [Text(_standing(found))]
    if found["violations"]:
        blocks += [Text("The new data breaks its contract:"), Items(found["violations"])]
    columns = dict(found["columns"])
    if found["prediction"]:
        columns[unused("prediction", columns)] = found["prediction"]
    ranked = sorted(columns.items(), key=lambda item: -item[1]["distance"])
    moved = [_row(name, column) for name, column in ranked if column["drift"]]
    if moved:
        blocks.append(Table("What has moved", "lrrlll", HEAD, moved))
    if found["performance"]:
        blocks.append(_performance(found["performance"]))
    steady = [_row(name, column) for name, column in ranked if not column["drift"]]
    if steady:
        blocks.append(Section(f"{len(steady)} within the limits", [Table("Within the limits", "lrrlll", HEAD, steady)]))
    if columns:
        large = f"at least {limits['distance']:g}"
        sure = f"less likely by chance than {100 * limits['significance']:g} %"
        scale = "0 is alike, 1 has nothing in common"
        blocks.append(Text(f"Moved: a distance of {large} ({scale}) that is {sure} among all columns."))
    return Report(f"Data since training: {found['verdict']} {SIGNS[found['verdict']]}", blocks)


def _standing(found: dict[str, Any]) -> str:
    rows, window = found["rows"], ", ".join(f"{name} {value}" for name, value in found["window"].items())
    if not rows["new"]:
        return "The raw files break their contract, so nothing was made of them or compared."
    new = f"{rows['new']:,} new rows ({window or found['source']})"
    return f"{new} against the {rows['reference']:,} that judged the model."


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
