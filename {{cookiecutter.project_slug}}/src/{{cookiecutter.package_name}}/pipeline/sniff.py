"""How an unknown CSV is written: encoding, delimiter, quotes, decimal sign, and what it writes for "no value"."""

from __future__ import annotations

import codecs
import csv
import io
import re
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from . import numerals
from .encodings import encoding_of
from .errors import InputError
from .logical_types import MISSING
from .table_files import open_bytes
from .tables import SEP_LINE

SAMPLE_BYTES = 1 << 18
GUESS_BY = (200, 1 << 16)  # lines and letters that a guess of the delimiter takes
SAMPLE_VALUES = 2000
DELIMITERS = (",", ";", "\t", "|", " ")
NAMED = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "pipe": "|", "bar": "|", "space": " ", "blank": " "}
# Taken for "no value" only in a column whose other values are all numbers or dates.
SIGNS = set("?-.*:…–—−x") | {"--", "..", "...", "\\n"}
WORDS = {"nil", "(null)", "n.a.", "n. a.", "n.a", "n.d.", "k.a.", "k. a.", "missing", "unknown", "nodata", "no data"}
INFINITE = {sign + word for sign in ("", "-", "+") for word in ("inf", "infinity")}
STAND_INS = SIGNS | WORDS | INFINITE | {f"#{error}" for error in ("div/0!", "value!", "ref!", "num!", "name?", "null!")}
ZERO_DATE = re.compile(r"(0000[-/.]00?[-/.]00?|00?[-/.]00?[-/.](0000|00))([ T]00?:00(:00(\.0+)?)?)?Z?")


@dataclass(frozen=True)
class Dialect:
    """How a CSV is written; ``missing`` are its own words for "no value", beside the usual ones.

    ``doubts`` say, for people, what may be otherwise.
    """

    encoding: str = "utf-8-sig"
    delimiter: str = ","
    decimal: str = "."
    thousands: str | None = None
    quote: str = '"'
    escape: str | None = None
    missing: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    def differences(self) -> dict[str, str | list[str]]:
        """What differs from a plain CSV; the contract says so and ``tables.csv_options`` reads it."""
        mine = vars(self) | {"missing": list(self.missing)}
        mine.pop("doubts")
        return {key: value for key, value in mine.items() if value and value != getattr(Dialect, key, [])}

    def with_part(self, other: Dialect, part: Path) -> Dialect:
        """Return the dialect of a folder's files so far and of one more, ``part``, or say why there is none."""
        if other.delimiter != self.delimiter:
            raise InputError(
                f"{part}: has the delimiter {other.delimiter!r} and the first file {self.delimiter!r}; a folder must "
                "hold the parts of one table"
            )
        encodings = {self.encoding, other.encoding} - {"ascii"} or {"ascii"}
        if len(encodings) > 1:
            raise InputError(
                f"{part}: is written in the encoding {other.encoding} and another file in {self.encoding}; write all "
                "files in UTF-8"
            )
        quote = other.quote if self.quote == '"' else self.quote
        return replace(self, encoding=encodings.pop(), quote=quote, escape=self.escape or other.escape)


@dataclass(frozen=True)
class Given:
    """What the user says about a CSV; None where that is to be found."""

    delimiter: str | None = None
    decimal: str | None = None
    encoding: str | None = None

    def checked(self) -> Given:
        """Return it as Python names things, or say what is wrong with an option."""
        delimiter = NAMED.get(self.delimiter or "", self.delimiter)
        if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
            raise InputError(
                f"--delimiter {self.delimiter!r}: give one character, or one of {', '.join(sorted(NAMED)[1:])}"
            )
        if self.decimal not in (None, ".", ","):
            raise InputError(f"--decimal {self.decimal!r}: '.' or ','")
        try:
            encoding = self.encoding and codecs.lookup(self.encoding).name
            if encoding and not codecs.lookup(encoding)._is_text_encoding:
                raise LookupError
        except LookupError:
            raise InputError(
                f"--encoding {self.encoding!r}: Python knows no such encoding; known are utf-8, cp1252, cp1251 …"
            ) from None
        return Given(delimiter, self.decimal, "utf-8-sig" if encoding in ("utf-8", "ascii") else encoding)


def dialect_of(path: Path, given: Given) -> Dialect:
    """Find a CSV's encoding, delimiter and quotes, as far as they are not given.

    Raises
    ------
    InputError
        It is empty, holds NUL bytes, has no two columns, or a name stands twice in its header.
    """
    encoding, doubt = (given.encoding, "") if given.encoding else encoding_of(path)
    errors = "strict" if given.encoding else "replace"
    try:
        with io.TextIOWrapper(open_bytes(path), encoding, errors=errors, newline="") as text:
            sample = text.read(SAMPLE_BYTES)
            cut = text.read(1) != ""
    except UnicodeError as error:
        raise InputError(f"{path}: is not in the encoding {encoding} ({error}); name another with --encoding") from None
    if sample.startswith("\ufeff"):
        sample = sample[1:]
    said = SEP_LINE.match(sample)
    sample = sample[said.end() :] if said else sample
    if not sample.strip():
        raise InputError(f"{path}: is empty; a table needs a line of column names and a line a row")
    dialect = Dialect(encoding, said[1] if said else given.delimiter or "", doubts=(doubt,) if doubt else ())
    dialect = _with_delimiter(dialect, sample, cut)
    _check_header(path, _rows(sample, dialect, cut), dialect)
    return dialect


def _with_delimiter(dialect: Dialect, sample: str, cut: bool) -> Dialect:
    """Add the delimiter, quote and escape that explain the sample best: those `clevercsv` finds, if they do."""
    known = [dialect.delimiter] if dialect.delimiter else list(DELIMITERS)
    candidates = [replace(dialect, delimiter=delimiter) for delimiter in known]
    found = _guess(sample, known if dialect.delimiter else None)
    if found:
        delimiter, quote, escape = found
        guess = replace(dialect, delimiter=delimiter, quote=quote or '"')
        # A backslash is an escape only where the rows do not come out without: it is part of names on Windows.
        guesses = [guess, replace(guess, escape=escape)] if escape else [guess]
        fits = [_fit(_rows(sample, g, cut)) for g in guesses]
        best = max(range(len(guesses)), key=lambda i: fits[i])
        if fits[best][1] > 0.5 and fits[best][3] > 1:
            return guesses[best]
    candidates += [replace(c, escape="\\") for c in candidates if "\\" in sample]
    return max(candidates, key=lambda c: _fit(_rows(sample, c, cut)))


def _guess(sample: str, delimiters: list[str] | None) -> tuple[str, str, str] | None:
    import clevercsv

    lines, letters = GUESS_BY
    head = "".join(sample[:letters].splitlines(keepends=True)[:lines])
    head = head[: head.rfind("\n") + 1] or head
    try:
        found = clevercsv.Sniffer().sniff(head, delimiters=delimiters)
    except Exception:  # it says "could not determine" in several ways; then our own way has to do
        return None
    return (found.delimiter, found.quotechar or "", found.escapechar or "") if found and found.delimiter else None


def _rows(sample: str, dialect: Dialect, cut: bool) -> list[list[str]]:
    csv.field_size_limit(sys.maxsize // 4 if sys.maxsize < 2**32 else 2**31 - 1)
    reader = csv.reader(
        io.StringIO(sample, newline=""),
        delimiter=dialect.delimiter,
        quotechar=dialect.quote,
        escapechar=dialect.escape,
        skipinitialspace=True,
    )
    rows = [row for row in reader if row]
    return rows[:-1] if cut and len(rows) > 1 else rows


def _fit(rows: list[list[str]]) -> tuple[bool, float, bool, int]:
    """How well a dialect explains the sample: several columns, as many in each row, as many as in the header."""
    width, same = Counter(map(len, rows[1:] or rows)).most_common(1)[0]
    share = same / len(rows[1:] or rows)
    return len(rows[0]) > 1 < width and share > 0.5, round(share, 2), len(rows[0]) == width, width


def _check_header(path: Path, rows: list[list[str]], dialect: Dialect) -> None:
    header = [name.strip() for name in rows[0]]
    usual = Counter(map(len, rows[1:])).most_common(1)
    width = usual[0][0] if usual else len(header)
    wider = next((i for i, row in enumerate(rows) if len(row) == width), 0)
    if width > len(header) and 0 < wider <= 20 and len(rows) > 2 * wider and all(cell.strip() for cell in rows[wider]):
        named = not any(re.fullmatch(numerals.pattern(".", None), cell.strip()) for cell in rows[wider])
        if named and len(header) < max(2, width - 1):
            raise InputError(
                f"{path}: the column names seem to stand in line {wider + 1}, after '{header[0][:40]}'; delete what "
                "stands before them"
            )
    if len(header) < 2:
        raise InputError(
            f"{path}: has one column, '{header[0][:60]}'; a table needs a target and at least one feature "
            f"(read with the delimiter {dialect.delimiter!r}; --delimiter names another)"
        )
    twice = [name for name, count in Counter(header).items() if count > 1 and name]
    if twice:
        places = " and ".join(str(i) for i, name in enumerate(header, start=1) if name == twice[0])
        raise InputError(f"{path}: the column name '{twice[0]}' stands twice (columns {places}); rename one")
    if width > len(header):
        raise InputError(
            f"{path}: rows have {width} fields and the header {len(header)}, with the delimiter "
            f"{dialect.delimiter!r}; name every column, or another --delimiter"
        )


def is_stand_in(text: str) -> bool:
    """Whether a text stands for "no value" among numbers or dates."""
    plain = text.strip()
    return plain.lower() in STAND_INS or bool(ZERO_DATE.fullmatch(plain))


def with_numbers(dialect: Dialect, frame: pd.DataFrame, given: Given) -> Dialect:
    """Add the decimal sign and the separator of thousands that read most columns as numbers."""
    samples = []
    for name in frame:
        values = frame[name].dropna()
        values = values[~values.isin(MISSING)].iloc[:SAMPLE_VALUES].str.strip()
        values = values[~values.map(is_stand_in).astype("bool")]
        if len(values) and values.str.contains(r"\d", regex=True).all():
            samples.append(values)
    styles = [style for style in numerals.STYLES if given.decimal in (None, style[0])]
    if dialect.delimiter == ";" and not given.decimal:  # written where the comma is the decimal sign
        styles.sort(key=lambda style: style != (".", None) and style[0] == ".")
    scores = {style: sum(v.str.fullmatch(numerals.pattern(*style)).all() for v in samples) for style in styles}
    decimal, thousands = max(styles, key=lambda style: scores[style])
    dialect = replace(dialect, decimal=decimal, thousands=thousands)
    mark = thousands if thousands in (",", ".") else decimal
    rivals = [s for s in styles if scores[s] == scores[decimal, thousands] and (s[1] or s[0]) == mark]
    readings = {s[0] == mark for s in rivals}
    examples = [found for v in samples if (found := numerals.either(v, mark))]
    if len(readings) < 2 or not examples or (mark == "." and dialect.delimiter == ","):
        return dialect
    other = "." if decimal == "," else ","
    doubt = f"{examples[0]} was read with decimal {decimal!r}; if it is otherwise, --decimal '{other}'"
    return replace(dialect, doubts=(*dialect.doubts, doubt))
