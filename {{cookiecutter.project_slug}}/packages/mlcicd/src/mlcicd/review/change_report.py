"""The changes between two runs as report blocks: a summary, and a collapsed section for each kind of change."""

from __future__ import annotations

from typing import Any

from mlcicd.rendering.blocks import Block, Section, Table, Text, number


def contract_summary(changes: list[dict[str, str]]) -> str:
    """Summarise the changes of the contract, and for whom they are breaking."""
    if not changes:
        return "no change"
    for affected, whom in (("requests", "for clients"), ("deliveries", "for data suppliers")):
        breaking = [c for c in changes if c[affected] == "breaking"]
        if breaking and len(changes) > 1:
            return f"{len(changes)} changes, ⚠️ {len(breaking)} of them breaking {whom}, first {_change(breaking[0])}"
    worst = {changes[0][affected] for affected in ("requests", "deliveries")}
    verdict = "⚠️ breaking" if "breaking" in worst else "compatible"
    return f"{_change(changes[0])} ({verdict})" if len(changes) == 1 else f"{len(changes)} changes, all compatible"


def _change(change: dict[str, str]) -> str:
    return f"{change['field']} {change['old'][:40]} → {change['new'][:40]}"


def summary(changes: dict[str, Any]) -> str:
    """Summarise the number of changes of each kind."""
    data = changes["data"] or {}
    counts = {
        ("param", "params"): len(changes["params"]),
        ("field of the contract", "fields of the contract"): len(changes["contract"]),
        ("row of data", "rows of data"): sum(data.get(key, 0) for key in ("added", "removed", "changed")),
        ("file", "files"): len(changes["code"]),
        ("library", "libraries"): len(changes["libraries"]),
    }
    parts = [f"{count:,} {nouns[count > 1]}" for nouns, count in counts.items() if count]
    return f"Changed: {', '.join(parts) or 'nothing that is tracked'}."


def sections(changes: dict[str, Any]) -> list[Block]:
    """Return a section for each kind of change that occurred."""
    head_cells = ["", "main", "this branch"]

    def pairs(title: str, entries: list[dict[str, Any]]) -> list[Block]:
        rows = [[str(c["key"]), *("–" if c[k] is None else str(c[k]) for k in ("old", "new"))] for c in entries]
        return [Section(f"{title} ({len(rows)})", [Table(title, "lll", head_cells, rows)])] if rows else []

    blocks = pairs("Changed params", changes["params"])
    if changes["contract"]:
        head = ["field", "main", "this branch", "for clients", "for data suppliers"]
        rows = [[c["field"], c["old"], c["new"], c["requests"], c["deliveries"]] for c in changes["contract"]]
        rows.sort(key=lambda row: "breaking" not in row[3:])
        blocks.append(Section(f"Changed contract ({len(rows)})", [Table("Changed contract", "lllll", head, rows)]))
    blocks += _data(changes["data"])
    if changes["code"]:
        rows = [[c["file"], f"+{c['plus']}", f"−{c['minus']}"] for c in changes["code"]]
        table = Table("Changed files", "lrr", ["file", "lines added", "lines removed"], rows)
        blocks.append(Section(f"Changed files ({len(rows)})", [table]))
    blocks += pairs("Changed libraries", changes["libraries"])
    rows = [
        [c["column"], *(number(c[k] and round(c[k], 3)) for k in ("baseline", "candidate"))]
        for c in changes["importance"]
    ]
    importance = Table("Loss of the overall metric when a column is shuffled", "lrr", ["column", *head_cells[1:]], rows)
    seconds, size = changes["size"]["seconds"], changes["size"]["model_bytes"]
    effort = [
        ["training, seconds", *(f"{s:,.1f}" for s in seconds)],
        ["model, kB", *(f"{b / 1000:,.0f}" for b in size)],
    ]
    tables: list[Block] = [importance, Table("Effort", "lrr", head_cells, effort)]
    blocks.append(Section("Feature importance and training effort", tables))
    return blocks


def _data(data: dict[str, Any] | None) -> list[Block]:
    if not data or not (data["added"] or data["removed"] or data["changed"]):
        return []
    text = f"{data['rows'][0]:,} → {data['rows'][1]:,} rows: {data['added']:,} added, {data['removed']:,} removed, "
    blocks: list[Block] = [Text(f"{text}{data['changed']:,} with changed content.")]
    if data["columns"]:
        rows = [[name, count] for name, count in sorted(data["columns"].items(), key=lambda item: -item[1])]
        blocks.append(Table("Changed values in the holdout", "lr", ["column", "rows"], rows))
    drifted = [
        [name, number(c["distance"]), " → ".join(f"{share:.1%}" for share in c["missing"])]
        for name, c in sorted(data["moved"].items(), key=lambda item: -item[1]["distance"])
    ]
    if drifted:
        head = ["column", "distance, 0 to 1", "missing"]
        blocks.append(Table("Columns whose distribution changed", "lrl", head, drifted))
    return [Section("Changed data", blocks)]
