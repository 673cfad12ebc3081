"""Detect how a CSV is written: encoding, delimiter, quotes, decimal sign and missing-value tokens."""

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

from mlcicd.core.errors import InputError
from mlcicd.data import numerals
from mlcicd.data.readers import SEP_LINE
from mlcicd.data.table_files import open_bytes
from mlcicd.onboarding.encodings import detect_encoding
from mlcicd.validation.logical_types import MISSING

SAMPLE_BYTES = 1 << 18
SNIFF_LINES, SNIFF_CHARACTERS = 200, 1 << 16  # how much of the file is used to detect the delimiter
SAMPLE_VALUES = 2000
DELIMITERS = (",", ";", "\t", "|", " ")
DELIMITER_NAMES = {
    "comma": ",",
    "semicolon": ";",
    "tab": "\t",
    "\\t": "\t",
    "pipe": "|",
    "bar": "|",
    "space": " ",
    "blank": " ",
}
# Read as "no value" only in a column whose other values are all numbers or dates.
SIGNS = set("?-.*:…–—−x") | {"--", "..", "...", "\\n"}
WORDS = {"nil", "(null)", "n.a.", "n. a.", "n.a", "n.d.", "k.a.", "k. a.", "missing", "unknown", "nodata", "no data"}
INFINITE = {sign + word for sign in ("", "-", "+") for word in ("inf", "infinity")}
MISSING_TOKENS = (
    SIGNS | WORDS | INFINITE | {f"#{error}" for error in ("div/0!", "value!", "ref!", "num!", "name?", "null!")}
)
ZERO_DATE = re.compile(r"(0000[-/.]00?[-/.]00?|00?[-/.]00?[-/.](0000|00))([ T]00?:00(:00(\.0+)?)?)?Z?")


@dataclass(frozen=True)
class Dialect:
    """How a CSV is written.

    ``missing`` lists the file's missing-value tokens beyond the usual ones; ``warnings`` lists uncertain guesses.
    """

    encoding: str = "utf-8-sig"
    delimiter: str = ","
    decimal: str = "."
    thousands: str | None = None
    quote: str = '"'
    escape: str | None = None
    missing: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def differences(self) -> dict[str, str | list[str]]:
        """Return the settings that differ from a plain CSV, as ``readers.csv_options`` reads them from the contract."""
        settings = vars(self) | {"missing": list(self.missing)}
        settings.pop("warnings")
        return {key: value for key, value in settings.items() if value and value != getattr(Dialect, key, [])}

    def with_part(self, other: Dialect, part: Path) -> Dialect:
        """Return the dialect shared with another file of the folder, ``part``; raise InputError if there is none."""
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
class CsvOptions:
    """The user's options for reading a CSV; None means detect."""

    delimiter: str | None = None
    decimal: str | None = None
    encoding: str | None = None

    def checked(self) -> CsvOptions:
        """Return the options with Python's names for delimiter and encoding; raise InputError for an invalid one."""
        delimiter = DELIMITER_NAMES.get(self.delimiter or "", self.delimiter)
        if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
            raise InputError(
                f"--delimiter {self.delimiter!r}: give one character or one of {', '.join(sorted(DELIMITER_NAMES)[1:])}"
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
        return CsvOptions(delimiter, self.decimal, "utf-8-sig" if encoding in ("utf-8", "ascii") else encoding)


def detect_dialect(path: Path, given: CsvOptions) -> Dialect:
    """Detect a CSV's encoding, delimiter and quotes, except for those that are given.

    Raises
    ------
    InputError
        The file is empty, holds NUL bytes, has fewer than two columns, or its header has a duplicate name.
    """
    encoding, warning = (given.encoding, "") if given.encoding else detect_encoding(path)
    errors = "strict" if given.encoding else "replace"
    try:
        with io.TextIOWrapper(open_bytes(path), encoding, errors=errors, newline="") as text:
            sample = text.read(SAMPLE_BYTES)
            cut = text.read(1) != ""
    except UnicodeError as error:
        raise InputError(f"{path}: is not in the encoding {encoding} ({error}); name another with --encoding") from None
    if sample.startswith("\ufeff"):
        sample = sample[1:]
    sep_line = SEP_LINE.match(sample)
    sample = sample[sep_line.end() :] if sep_line else sample
    if not sample.strip():
        raise InputError(f"{path}: is empty; a table needs a line of column names and one line per row")
    delimiter = sep_line[1] if sep_line else given.delimiter or ""
    dialect = Dialect(encoding, delimiter, warnings=(warning,) if warning else ())
    dialect = _with_delimiter(dialect, sample, cut)
    _check_header(path, _rows(sample, dialect, cut), dialect)
    return dialect


def _with_delimiter(dialect: Dialect, sample: str, cut: bool) -> Dialect:
    """Add the delimiter, quote and escape that fit the sample best; those that `clevercsv` detects are preferred."""
    known = [dialect.delimiter] if dialect.delimiter else list(DELIMITERS)
    candidates = [replace(dialect, delimiter=delimiter) for delimiter in known]
    sniffed = _guess(sample, known if dialect.delimiter else None)
    if sniffed:
        delimiter, quote, escape = sniffed
        guess = replace(dialect, delimiter=delimiter, quote=quote or '"')
        # Use a backslash as escape only if the rows need it: it is also part of Windows paths.
        guesses = [guess, replace(guess, escape=escape)] if escape else [guess]
        fits = [_fit(_rows(sample, g, cut)) for g in guesses]
        best = max(range(len(guesses)), key=lambda i: fits[i])
        if fits[best][1] > 0.5 and fits[best][3] > 1:
            return guesses[best]
    candidates += [replace(c, escape="\\") for c in candidates if "\\" in sample]
    return max(candidates, key=lambda c: _fit(_rows(sample, c, cut)))


def _guess(sample: str, delimiters: list[str] | None) -> tuple[str, str, str] | None:
    import clevercsv

    head = "".join(sample[:SNIFF_CHARACTERS].splitlines(keepends=True)[:SNIFF_LINES])
    head = head[: head.rfind("\n") + 1] or head
    try:
        sniffed = clevercsv.Sniffer().sniff(head, delimiters=delimiters)
    except Exception:  # it fails in several ways; the caller then compares the usual delimiters itself
        return None
    if not sniffed or not sniffed.delimiter:
        return None
    return sniffed.delimiter, sniffed.quotechar or "", sniffed.escapechar or ""


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
    """Score how well a dialect fits the sample: several columns, rows of equal width, a header of the same width."""
    width, same = Counter(map(len, rows[1:] or rows)).most_common(1)[0]
    share = same / len(rows[1:] or rows)
    return len(rows[0]) > 1 < width and share > 0.5, round(share, 2), len(rows[0]) == width, width


def _check_header(path: Path, rows: list[list[str]], dialect: Dialect) -> None:
    header = [name.strip() for name in rows[0]]
    commonest = Counter(map(len, rows[1:])).most_common(1)
    width = commonest[0][0] if commonest else len(header)
    wider = next((i for i, row in enumerate(rows) if len(row) == width), 0)
    if width > len(header) and 0 < wider <= 20 and len(rows) > 2 * wider and all(cell.strip() for cell in rows[wider]):
        named = not any(re.fullmatch(numerals.number_pattern(".", None), cell.strip()) for cell in rows[wider])
        if named and len(header) < max(2, width - 1):
            raise InputError(
                f"{path}: the column names seem to be in line {wider + 1}, after '{header[0][:40]}'; delete the "
                "lines before them"
            )
    if len(header) < 2:
        raise InputError(
            f"{path}: has one column, '{header[0][:60]}'; a table needs a target and at least one feature "
            f"(read with the delimiter {dialect.delimiter!r}; --delimiter names another)"
        )
    duplicates = [name for name, count in Counter(header).items() if count > 1 and name]
    if duplicates:
        places = " and ".join(str(i) for i, name in enumerate(header, start=1) if name == duplicates[0])
        raise InputError(f"{path}: the column name '{duplicates[0]}' is used twice (columns {places}); rename one")
    if width > len(header):
        raise InputError(
            f"{path}: rows have {width} fields and the header {len(header)}, with the delimiter "
            f"{dialect.delimiter!r}; name every column, or another --delimiter"
        )


def is_missing_token(text: str) -> bool:
    """Whether a text means "no value" in a column of numbers or dates."""
    plain = text.strip()
    return plain.lower() in MISSING_TOKENS or bool(ZERO_DATE.fullmatch(plain))


def add_number_style(dialect: Dialect, frame: pd.DataFrame, given: CsvOptions) -> Dialect:
    """Add the decimal sign and thousands separator that parse most columns as numbers."""
    samples = []
    for name in frame:
        values = frame[name].dropna()
        values = values[~values.isin(MISSING)].iloc[:SAMPLE_VALUES].str.strip()
        values = values[~values.map(is_missing_token).astype("bool")]
        if len(values) and values.str.contains(r"\d", regex=True).all():
            samples.append(values)
    styles = [style for style in numerals.STYLES if given.decimal in (None, style[0])]
    if dialect.delimiter == ";" and not given.decimal:  # usual in countries whose decimal sign is the comma
        styles.sort(key=lambda style: style != (".", None) and style[0] == ".")
    scores = {style: sum(v.str.fullmatch(numerals.number_pattern(*style)).all() for v in samples) for style in styles}
    decimal, thousands = max(styles, key=lambda style: scores[style])
    dialect = replace(dialect, decimal=decimal, thousands=thousands)
    mark = thousands if thousands in (",", ".") else decimal
    rivals = [s for s in styles if scores[s] == scores[decimal, thousands] and (s[1] or s[0]) == mark]
    decimal_readings = {s[0] == mark for s in rivals}
    examples = [example for v in samples if (example := numerals.ambiguous_example(v, mark))]
    if len(decimal_readings) < 2 or not examples or (mark == "." and dialect.delimiter == ","):
        return dialect
    other = "." if decimal == "," else ","
    warning = f"{examples[0]} was read with decimal {decimal!r}; if it is otherwise, --decimal '{other}'"
    return replace(dialect, warnings=(*dialect.warnings, warning))
