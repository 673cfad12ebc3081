"""What changed between two runs, as blocks: in a few words for the first screen, and each kind in a fold."""

from __future__ import annotations

from typing import Any

from .blocks import Block, Section, Table, Text, number


def contract_words(changes: list[dict[str, str]]) -> str:
    """Say of the contract's changes whom they break."""
    if not changes:
        return "no change"
    for who, words in (("requests", "for who sends requests"), ("deliveries", "for who delivers data")):
        broken = [c for c in changes if c[who] == "breaking"]
        if broken and len(changes) > 1:
            return f"{len(changes)} changes, ⚠️ {len(broken)} of them breaking {words}, first {_change(broken[0])}"
    worst = {changes[0][who] for who in ("requests", "deliveries")}
    verdict = "⚠️ breaking" if "breaking" in worst else "compatible"
    return f"{_change(changes[0])} ({verdict})" if len(changes) == 1 else f"{len(changes)} changes, all compatible"


def _change(change: dict[str, str]) -> str:
    return f"{change['field']} {change['old'][:40]} → {change['new'][:40]}"


def counted(changes: dict[str, Any]) -> str:
    """Count the changes of each kind."""
    data = changes["data"] or {}
    counts = {
        ("param", "params"): len(changes["params"]),
        ("field of the contract", "fields of the contract"): len(changes["contract"]),
        ("row of data", "rows of data"): sum(data.get(key, 0) for key in ("added", "removed", "changed")),
        ("file", "files"): len(changes["code"]),
        ("library", "libraries"): len(changes["libraries"]),
    }
    said = [f"{count:,} {words[count > 1]}" for words, count in counts.items() if count]
    return f"Changed: {', '.join(said) or 'nothing that is tracked'}."


def folds(changes: dict[str, Any]) -> list[Block]:
    """One fold for each kind of change that there is."""
    arrow = ["", "main", "this branch"]

    def pairs(title: str, found: list[dict[str, Any]]) -> list[Block]:
        rows = [[str(c["key"]), *("–" if c[k] is None else str(c[k]) for k in ("old", "new"))] for c in found]
        return [Section(f"{title} ({len(rows)})", [Table(title, "lll", arrow, rows)])] if rows else []

    blocks = pairs("Changed params", changes["params"])
    if changes["contract"]:
        head = ["field", "main", "this branch", "for who sends requests", "for who delivers data"]
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
    lost = Table("Overall metric lost when a column is shuffled", "lrr", ["column", *arrow[1:]], rows)
    seconds, size = changes["size"]["seconds"], changes["size"]["model_bytes"]
    cost = [
        ["training, seconds", *(f"{s:,.1f}" for s in seconds)],
        ["model, kB", *(f"{b / 1000:,.0f}" for b in size)],
    ]
    blocks.append(Section("What the model looks at, and what it takes", [lost, Table("Effort", "lrr", arrow, cost)]))
    return blocks


def _data(data: dict[str, Any] | None) -> list[Block]:
    if not data or not (data["added"] or data["removed"] or data["changed"]):
        return []
    text = f"{data['rows'][0]:,} → {data['rows'][1]:,} rows: {data['added']:,} added, {data['removed']:,} removed, "
    blocks: list[Block] = [Text(f"{text}{data['changed']:,} with another content.")]
    if data["columns"]:
        rows = [[name, count] for name, count in sorted(data["columns"].items(), key=lambda item: -item[1])]
        blocks.append(Table("Changed values in the holdout", "lr", ["column", "rows"], rows))
    moved = [
        [name, number(c["distance"]), " → ".join(f"{share:.1%}" for share in c["missing"])]
        for name, c in sorted(data["moved"].items(), key=lambda item: -item[1]["distance"])
    ]
    if moved:
        head = ["column", "distance, 0 to 1", "missing"]
        blocks.append(Table("Columns whose distribution moved", "lrl", head, moved))
    return [Section("Changed data", blocks)]
