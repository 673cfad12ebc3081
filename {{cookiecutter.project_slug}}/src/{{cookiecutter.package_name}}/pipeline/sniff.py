"""How an unknown file is written: its encoding, delimiter, decimal sign, and what it writes for "no value"."""

from __future__ import annotations

import codecs
import csv
import io
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pandas as pd

from .errors import InputError
from .logical_types import MISSING
from .table_files import open_bytes

SAMPLE_BYTES = 1 << 18
SAMPLE_VALUES = 2000
DELIMITERS = (",", ";", "\t", "|", " ")
BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
NOT_IN_CP1252 = {0x81, 0x8D, 0x8F, 0x90, 0x9D}
# (decimal, thousands); where two read the same number of columns, the first wins.
STYLES: tuple[tuple[str, str | None], ...] = (
    (".", None),
    (".", ","),
    (",", None),
    (",", "."),
    (".", " "),
    (",", " "),
    (".", "'"),
)
# Taken for "no value" only in a column whose other values are all numbers or dates.
STAND_INS = {
    "?",
    "-",
    "--",
    ".",
    "..",
    "*",
    "inf",
    "-inf",
    "+inf",
    "infinity",
    "-infinity",
    "n.a.",
    "missing",
    "unknown",
}


@dataclass(frozen=True)
class Dialect:
    """How a CSV is written; ``missing`` are its own words for "no value", beside the usual ones."""

    encoding: str = "utf-8-sig"
    delimiter: str = ","
    decimal: str = "."
    thousands: str | None = None
    missing: tuple[str, ...] = ()

    def differences(self) -> dict[str, str | list[str]]:
        """What differs from a plain CSV; the contract says so and ``tables.csv_options`` reads it."""
        mine = vars(self) | {"missing": list(self.missing)}
        return {key: value for key, value in mine.items() if value and value != getattr(Dialect, key, [])}


def dialect_of(path: Path) -> Dialect:
    """Find a CSV's encoding and delimiter.

    Raises
    ------
    InputError
        It is empty, holds NUL bytes, has no two columns, or a name stands twice in its header.
    """
    with open_bytes(path) as file:
        encoding = _encoding(path, file)
    with io.TextIOWrapper(open_bytes(path), encoding, errors="replace", newline="") as text:
        sample = text.read(SAMPLE_BYTES)
        cut = text.read(1) != ""
    if not sample.strip():
        raise InputError(f"{path}: is empty; a table needs a line of column names and a line a row")
    best = max(DELIMITERS, key=lambda d: _fit(_rows(sample, d, cut)))
    rows = _rows(sample, best, cut)
    header = [name.strip() for name in rows[0]]
    if len(header) < 2:
        raise InputError(f"{path}: has one column, '{header[0][:60]}'; a table needs a target and at least one feature")
    twice = [name for name, count in Counter(header).items() if count > 1 and name]
    if twice:
        places = " and ".join(str(i) for i, name in enumerate(header, start=1) if name == twice[0])
        raise InputError(f"{path}: the column name '{twice[0]}' stands twice (columns {places}); rename one")
    usual = Counter(map(len, rows[1:])).most_common(1)
    if usual and usual[0][0] > len(header):
        raise InputError(f"{path}: rows have {usual[0][0]} fields and the header {len(header)}; name every column")
    return Dialect(encoding=encoding, delimiter=best)


def _encoding(path: Path, file: BinaryIO) -> str:
    """A byte order mark, else UTF-8 where all of the file is, else the Windows code page of Western Europe."""
    head = file.read(SAMPLE_BYTES)
    for mark, name in BOMS:
        if head.startswith(mark):
            return name
    zeros = [head[side::2].count(0) / max(len(head) / 2, 1) for side in (0, 1)]
    if max(zeros) > 0.4 and min(zeros) < 0.1:
        return "utf-16-le" if zeros[1] > zeros[0] else "utf-16-be"
    decoder, read, high, utf8 = codecs.getincrementaldecoder("utf-8")(), 0, set[int](), True
    for chunk in _chunks(head, file):
        if b"\0" in chunk:
            where = read + chunk.index(0)
            raise InputError(
                f"{path}: holds a NUL byte at position {where:,}, so it is no text; export it as CSV again"
            )
        read += len(chunk)
        high |= set(chunk) & NOT_IN_CP1252
        try:
            decoder.decode(chunk)
        except UnicodeDecodeError:
            utf8 = False
    return "utf-8-sig" if utf8 else "latin-1" if high else "cp1252"


def _chunks(head: bytes, file: BinaryIO) -> Iterator[bytes]:
    while head:
        yield head
        head = file.read(1 << 22)


def _rows(sample: str, delimiter: str, cut: bool) -> list[list[str]]:
    csv.field_size_limit(sys.maxsize // 4 if sys.maxsize < 2**32 else 2**31 - 1)
    rows = [r for r in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter, skipinitialspace=True) if r]
    return rows[:-1] if cut and len(rows) > 1 else rows


def _fit(rows: list[list[str]]) -> tuple[bool, float, bool, int]:
    """How well a delimiter explains the sample: several columns, as many in each row, as many as in the header."""
    width, same = Counter(map(len, rows[1:] or rows)).most_common(1)[0]
    share = same / len(rows[1:] or rows)
    return len(rows[0]) > 1 < width and share > 0.5, round(share, 2), len(rows[0]) == width, width


def with_numbers(dialect: Dialect, frame: pd.DataFrame) -> Dialect:
    """Add the decimal sign and the separator of thousands that read most columns as numbers."""
    samples = []
    for name in frame:
        values = frame[name].dropna()
        values = values[~values.isin(MISSING)].iloc[:SAMPLE_VALUES].str.strip()
        if len(values) and values.str.contains(r"\d", regex=True).all():
            samples.append(values)
    scores = {style: sum(v.str.fullmatch(number(*style)).all() for v in samples) for style in STYLES}
    decimal, thousands = max(STYLES, key=lambda style: scores[style])
    return Dialect(dialect.encoding, dialect.delimiter, decimal, thousands, dialect.missing)


def number(decimal: str, thousands: str | None) -> str:
    """Return the pattern of a number; with a separator, thousands are in threes and need not be separated."""
    whole = rf"(?:[1-9]\d{{0,2}}(?:{re.escape(thousands)}\d{{3}})+|\d+)" if thousands else r"\d+"
    return rf"[+-]?(?:{whole}(?:{re.escape(decimal)}\d*)?|{re.escape(decimal)}\d+)(?:[eE][+-]?\d+)?"
