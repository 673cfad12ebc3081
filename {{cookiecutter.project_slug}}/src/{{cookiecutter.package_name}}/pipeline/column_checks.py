"""What a contract may say of a column or a file beyond the shape of its keys; ``odcs`` asks when a document loads."""

from __future__ import annotations

import codecs
import math
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from difflib import get_close_matches
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from .date_formats import date_format

NUMERIC, TEMPORAL = ("integer", "number"), ("date", "timestamp")
# Each bound of a column, and how a value stands to it.
BOUNDS = {"minimum": ">=", "maximum": "<=", "exclusiveMinimum": ">", "exclusiveMaximum": "<"}
ROLES = ("id", "target", "time", "group")
# What a custom property of a column or of a file may be here, and what it takes.
OF_COLUMNS = {"role", "missing", "stored", "latestYear", "decimal", "thousands"}
OF_FILES = {"delimiter", "decimal", "thousands", "quote", "escape", "encoding", "missing"}
LETTERS = {"delimiter", "decimal", "thousands", "quote", "escape"}
# Words for them elsewhere, which would be ignored here.
ALIASES = {"sep": "delimiter", "separator": "delimiter", "charset": "encoding", "quotechar": "quote"} | {
    **dict.fromkeys(("na", "na_values", "nan", "null", "nulls"), "missing"),
    "escapechar": "escape",
}


def checked_bounds(kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a column's options, bounds of dates as ISO text: ``1997-01-01`` with and without quotes is one date."""
    given = {key: value for key, value in options.items() if value is not None}
    _fits(kind, NUMERIC + TEMPORAL, given, BOUNDS)
    _fits(kind, NUMERIC, given, ("multipleOf",))
    _fits(kind, ("string",), given, ("pattern", "minLength", "maxLength"))
    _fits(kind, TEMPORAL, given, ("format",))
    if "format" in given:
        date_format(given["format"])
    return {key: typed(given[key], kind, key) for key in BOUNDS if key in given}


def _fits(kind: str, kinds: Iterable[str], given: Mapping[str, Any], keys: Iterable[str]) -> None:
    wrong = [key for key in keys if key in given]
    if wrong and kind not in kinds:
        raise ValueError(f"{wrong[0]} is for {' and '.join(kinds)} columns, not for {kind}")


def typed(value: Any, kind: str, key: str) -> Any:
    """Return a bound or allowed value as the column's type has it; dates as ISO text."""
    if kind in NUMERIC and type(value) in (int, float) and math.isfinite(value):
        return value
    if (kind == "string" and isinstance(value, str)) or (kind == "boolean" and isinstance(value, bool)):
        return value
    if kind in TEMPORAL and isinstance(value, str | date):
        text = value if isinstance(value, str) else value.isoformat()
        try:
            return iso(date_format(None).parse(text.strip()))
        except (ValueError, OverflowError):
            pass
    remedy = {"string": "; quote it", "boolean": "; write true or false"}.get(
        kind, "; write 2026-01-31 or 2026-01-31T12:00:00" if kind in TEMPORAL else "; write a number without quotes"
    )
    raise ValueError(f"{key} {value!r} does not fit type {kind}{remedy}")


def iso(stamp: datetime) -> str:
    """Write a moment so that earlier ones sort before later ones: a day alone where it is midnight."""
    return stamp.isoformat().removesuffix("T00:00:00")


def check_custom(given: list[tuple[str, Any]], known: set[str], where: str) -> None:
    """Refuse a custom property that is misspelt, given twice, or has a value of another kind."""
    for name, value in given:
        if name not in known:
            close = ALIASES.get(name.lower()) or next(iter(get_close_matches(name.lower(), known, 1, 0.7)), None)
            if close in known:
                raise ValueError(f"unknown custom property '{name}' of {where}; did you mean '{close}'?")
            continue  # another tool's
        if [n for n, _ in given].count(name) > 1:
            raise ValueError(f"custom property '{name}' of {where} is given twice")
        _check_value(name, value, where)


def _check_value(name: str, value: Any, where: str) -> None:
    takes = ""
    if name in LETTERS and not (isinstance(value, str) and len(value) == 1):
        takes = "one character"
    elif name == "missing" and not (isinstance(value, list) and all(isinstance(word, str) for word in value)):
        takes = "a list of quoted texts, such as ['none', '-999']"
    elif name == "stored" and value != "integer":
        takes = "integer"
    elif name == "role" and value not in ROLES:
        takes = " or ".join(ROLES)
    elif name == "encoding" and not _is_encoding(value):
        takes = "an encoding, such as utf-8 or windows-1252"
    if takes:
        raise ValueError(f"{name} {value!r} of {where} is wrong: it takes {takes}")


def _is_encoding(value: Any) -> bool:
    try:
        return isinstance(value, str) and codecs.lookup(value)._is_text_encoding
    except (LookupError, ValueError):
        return False


def check_path(name: str, where: str) -> None:
    """A file of the project is named from its root, with slashes."""
    windows = PureWindowsPath(name)
    if not name.isprintable() or not name.strip():
        raise ValueError(f"physicalName {name[:60]!r} of {where} is no path")
    if windows.drive or windows.root or ".." in windows.parts or PurePosixPath(name).parts[:1] == (".git",):
        raise ValueError(f"physicalName '{name[:60]}' of {where} leads out of the project; copy the file into it")


def check_comparison(left: str | None, right: str | None, where: str) -> None:
    """Two sides of a rule have types that can be compared; None is a number that is written out."""
    family = dict.fromkeys((*NUMERIC, "boolean", None), "numbers") | dict.fromkeys(TEMPORAL, "dates")
    kinds = [family.get(side, "texts") for side in (left, right)]
    if kinds[0] != kinds[1]:
        raise ValueError(f"the rule {where} compares {kinds[0]} with {kinds[1]}")
