"""Read a CSV body as the JSON request that it stands for, so that both are validated in the same way."""

from __future__ import annotations

import csv
import io
import math
import re
from typing import Any

from pydantic_core import to_json

from mlcicd.contract.schema import Property
from mlcicd.core.errors import RequestError

INTEGER = re.compile(r"[+-]?\d{1,30}", re.ASCII)
BOOLEAN = {"true": True, "false": False}
STRANGERS = 100  # more unknown columns than that are no misspelt header


def to_request(body: bytes, columns: list[Property], max_records: int) -> bytes:
    """Return a CSV's rows as ``{"records": [{…}, …]}``.

    The first line names the columns: in a file without a header, one column more or less would move every value.
    An empty cell is null. A cell that is no number where the contract wants one stays text, which is then refused.

    Raises
    ------
    RequestError
        The body is no CSV, a line has more or fewer cells than the header, or there are too many lines.
    """
    kinds = {prop.name: prop.logicalType for prop in columns}
    try:
        lines = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
        header = next(lines, [])
        if len(header) > len(kinds) + STRANGERS:
            raise RequestError(422, f"the first line must name the columns; it has {len(header):,} cells")
        if len(set(header)) < len(header):
            raise RequestError(422, "the first line names a column twice")
        records: list[dict[str, Any]] = []
        for cells in filter(None, lines):  # csv reads a blank line as no cells
            if len(cells) != len(header):
                text = f"line {lines.line_num} has {len(cells):,} cells, and the first line {len(header)}"
                raise RequestError(422, text)
            if len(records) == max_records:
                raise RequestError(413, f"more than {max_records:,} records in one request")
            records.append({name: _value(cell, kinds.get(name, "")) for name, cell in zip(header, cells, strict=True)})
    except UnicodeDecodeError:
        raise RequestError(400, "the body is not UTF-8") from None
    except csv.Error as error:
        raise RequestError(400, f"the body is not valid CSV: {str(error)[:200]}") from None
    return to_json({"records": records})


def _value(cell: str, kind: str) -> Any:
    text = cell.strip()
    if not text:
        return None
    if kind == "boolean":
        return BOOLEAN.get(text.lower(), cell)
    if kind == "integer" and INTEGER.fullmatch(text):
        return int(text)
    if kind in ("integer", "number") and text.isascii() and "_" not in text:
        try:
            number = float(text)
        except ValueError:
            return cell
        return number if math.isfinite(number) else cell
    return cell
