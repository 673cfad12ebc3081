"""Serialise a report as ``review.json``, which the CI job `report` reads as untrusted input.

The schema is strict and versioned. Writing truncates a report to the limits; reading refuses everything else.
Uses the standard library alone: the CI job `report` runs this file from the default branch.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from mlcicd.core.plain_text import flat, visible
from mlcicd.rendering.blocks import (
    PATH,
    SHOWN,
    Block,
    Cell,
    Chart,
    Code,
    Items,
    Links,
    Report,
    Section,
    Table,
    Text,
    number,
)
from mlcicd.rendering.markdown import CELL, ITEM, LINE, LINES, NAME, SUMMARY, TEXT, TITLE, render

SCHEMA, VERSION = "ml-review", 1
MAX_BYTES = 1_000_000  # of a document; far more than is shown
BLOCKS, DEPTH, COLUMNS, POINTS, SERIES = 100, 3, 40, 200, 5
LARGEST = 1e300  # of floats
MAX_COUNT = 10**15  # of integers and cells
LABELS = ("title", "x_label", "y_label")
CHART = {"kind", *LABELS, "x", "series", "ideal"}


class SchemaError(ValueError):
    """The document does not follow the schema. The message says where, without quoting the document."""


def write_review(report: Report, folder: Path, address: str = "") -> str:
    """Write ``review.json`` and ``report.md`` to a folder, and return the text of the latter.

    The text is rendered from the document, as the CI job `report` does, so that it equals the comment.
    """
    document = dump(report)
    text = render(load(document), address=address)
    (folder / "review.json").write_text(document, encoding="utf-8")
    (folder / "report.md").write_text(text, encoding="utf-8")
    return text


def dump(report: Report) -> str:
    """Serialise a report, truncated to the limits of the schema."""
    blocks: list[dict[str, Any]] = []
    remaining = MAX_BYTES * 9 // 10
    for block in report.blocks[:BLOCKS]:
        written = _block(block)
        remaining -= len(_json(written).encode())
        if remaining < 0:
            break  # the Markdown reaches its limit long before
        blocks.append(written)
    content = {"schema": SCHEMA, "version": VERSION, "title": _cut(report.title, TITLE), "blocks": blocks}
    return _json(content) + "\n"


def load(text: str) -> Report:
    """Parse a report.

    Raises
    ------
    SchemaError
        The text does not follow the schema.
    """
    if len(text) > MAX_BYTES:
        raise SchemaError(f"it has more than {MAX_BYTES:,} characters")
    try:
        content = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise SchemaError("it is not JSON") from error
    document = _object(content, {"schema", "version", "title", "blocks"}, "the top")
    if document["schema"] != SCHEMA or document["version"] != VERSION or isinstance(document["version"], bool):
        raise SchemaError("its schema or version is another")
    return Report(_string(document["title"], TITLE, "title"), _blocks(document["blocks"], "blocks", 1))


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _cut(text: str, limit: int) -> str:
    """Truncate to one character more than is shown, so that the renderer marks the text as truncated."""
    short = _encodable(flat(text)[: limit + 1])
    return short if len(short) <= limit else f"{short[:limit]}…"


def _encodable(text: str) -> str:
    # Lone surrogates cannot be encoded as UTF-8.
    return "".join(visible(c) if "\ud800" <= c <= "\udfff" else c for c in text)


def _block(block: Block) -> dict[str, Any]:
    match block:
        case Text(text, bold):
            return {"kind": "text", "text": _cut(text, TEXT)} | ({"bold": _cut(bold, NAME)} if bold else {})
        case Items(items):
            return {"kind": "items", "items": [_cut(item, ITEM) for item in items[:SHOWN]]}
        case Code(lines):
            return {"kind": "code", "lines": [_encodable(line[:LINE])[:LINE] for line in lines[-LINES:]]}
        case Table():
            return {
                "kind": "table",
                "caption": _cut(block.caption, CELL),
                "align": block.align[:COLUMNS],
                "head": [_cut(name, CELL) for name in block.head[:COLUMNS]],
                "rows": [[_cell(cell) for cell in row[:COLUMNS]] for row in block.rows[:SHOWN]],
                "more": block.hidden,
            }
        case Chart():
            return _chart(block)
        case Links(title, paths):
            links = [{"name": _cut(name, NAME), "path": path} for name, path in list(paths.items())[:SERIES]]
            return {"kind": "links", "title": _cut(title, CELL), "links": links}
        case Section(title, blocks):
            return {
                "kind": "section",
                "title": _cut(title, SUMMARY),
                "blocks": [_block(inner) for inner in blocks[:BLOCKS]],
            }


def _cell(cell: Cell) -> Cell:
    if isinstance(cell, str):
        return _cut(cell, CELL)
    # Also converts numpy numbers, which JSON does not support.
    if cell is None or not math.isfinite(cell) or abs(cell) > MAX_COUNT:
        return number(cell)
    return int(cell) if isinstance(cell, int) else float(cell)


def _chart(chart: Chart) -> dict[str, Any]:
    step = -(-len(chart.x) // POINTS)

    def line(values: list[float]) -> list[float | None]:
        near = [float(f"{v:.6g}") for v in values[::step]]
        return [v if math.isfinite(v) and abs(v) <= LARGEST else None for v in near]

    series = [
        {"name": _cut(name, NAME), "values": line(values)} for name, values in list(chart.series.items())[:SERIES]
    ]
    ideal = {"name": _cut(chart.ideal[0], NAME), "values": line(chart.ideal[1])} if chart.ideal else None
    labels = {key: _cut(getattr(chart, key), CELL) for key in LABELS}
    return {"kind": "chart", **labels, "x": line(chart.x), "series": series, "ideal": ideal}


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        raise SchemaError("it has a duplicate key")
    return unique


def _no_constant(_: str) -> None:
    raise SchemaError("it contains NaN or infinity")


def _object(value: object, keys: set[str], where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or value.keys() != keys:
        raise SchemaError(f"{where} has other keys")
    return value


def _list(value: object, most: int, where: str) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise SchemaError(f"{where} is not a list of at most {most}")
    return value


def _string(value: object, limit: int, where: str) -> str:
    if not isinstance(value, str) or len(value) > limit + 1:
        raise SchemaError(f"{where} is not a text of at most {limit} characters")
    return value


def _strings(value: object, most: int, limit: int, where: str) -> list[str]:
    return [_string(text, limit, where) for text in _list(value, most, where)]


def _count(value: object, where: str) -> int:
    if type(value) is not int or not 0 <= value <= MAX_COUNT:
        raise SchemaError(f"{where} is not a count")
    return value


def _blocks(value: object, where: str, depth: int) -> list[Block]:
    if depth > DEPTH:
        raise SchemaError(f"{where} is nested too deeply")
    return [_read(block, f"{where}.{place}", depth) for place, block in enumerate(_list(value, BLOCKS, where))]


def _read(value: object, where: str, depth: int) -> Block:
    kind = value.get("kind") if isinstance(value, dict) else None
    match kind:
        case "text":
            content = _object(
                {"bold": "", **value} if isinstance(value, dict) else value, {"kind", "text", "bold"}, where
            )
            return Text(_string(content["text"], TEXT, where), _string(content["bold"], NAME, where))
        case "items":
            return Items(_strings(_object(value, {"kind", "items"}, where)["items"], SHOWN, ITEM, where))
        case "code":
            return Code(_strings(_object(value, {"kind", "lines"}, where)["lines"], LINES, LINE, where))
        case "table":
            return _read_table(_object(value, {"kind", "caption", "align", "head", "rows", "more"}, where), where)
        case "chart":
            return _read_chart(_object(value, CHART, where), where)
        case "links":
            content = _object(value, {"kind", "title", "links"}, where)
            links = [_object(link, {"name", "path"}, where) for link in _list(content["links"], SERIES, where)]
            paths = {_string(link["name"], NAME, where): _path(link["path"], where) for link in links}
            return Links(_string(content["title"], CELL, where), paths)
        case "section":
            content = _object(value, {"kind", "title", "blocks"}, where)
            return Section(_string(content["title"], SUMMARY, where), _blocks(content["blocks"], where, depth + 1))
        case _:
            raise SchemaError(f"{where} is of an unknown kind")


def _path(value: object, where: str) -> str:
    if not isinstance(value, str) or not PATH.fullmatch(value):
        raise SchemaError(f"{where} has a link that is not a plain path")
    return value


def _read_table(content: dict[str, Any], where: str) -> Table:
    align, head = _string(content["align"], COLUMNS, where), _strings(content["head"], COLUMNS, CELL, where)
    rows = [
        [_read_cell(cell, where) for cell in _list(row, COLUMNS, where)] for row in _list(content["rows"], SHOWN, where)
    ]
    if not head or any(len(part) != len(head) for part in (align, *rows)) or set(align) - {"l", "r"}:
        raise SchemaError(f"{where} has rows that are not as wide as its head")
    return Table(_string(content["caption"], CELL, where), align, head, rows, _count(content["more"], where))


def _read_cell(value: object, where: str) -> Cell:
    if value is None or isinstance(value, str):
        return value if value is None else _string(value, CELL, where)
    return _number(value, MAX_COUNT, where)


def _number(value: object, most: float, where: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= most:
        raise SchemaError(f"{where} contains a value that is not a number, or too large")
    return value


def _read_chart(content: dict[str, Any], where: str) -> Chart:
    def line(value: object) -> list[float]:
        values = [math.nan if v is None else float(_number(v, LARGEST, where)) for v in _list(value, POINTS, where)]
        if len(values) != len(x):
            raise SchemaError(f"{where} has lines of several lengths")
        return values

    x = [float(_number(v, LARGEST, where)) for v in _list(content["x"], POINTS, where)]
    series: dict[str, list[float]] = {}
    for entry in _list(content["series"], SERIES, where):
        named = _object(entry, {"name", "values"}, where)
        name = _string(named["name"], NAME, where)
        # Truncated names may be equal.
        series[name if name not in series else f"{name} ({len(series) + 1})"] = line(named["values"])
    ideal = None
    if content["ideal"] is not None:
        named = _object(content["ideal"], {"name", "values"}, where)
        ideal = (_string(named["name"], NAME, where), line(named["values"]))
    if not series or len(x) < 2:
        raise SchemaError(f"{where} draws nothing")
    title, x_label, y_label = (_string(content[key], CELL, where) for key in LABELS)
    return Chart("chart", title, x_label, y_label, x, series, ideal)
