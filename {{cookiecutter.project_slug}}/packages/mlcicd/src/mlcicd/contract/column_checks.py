"""Checks of a contract that go beyond the types of its keys; ``schema`` and ``column_schema`` call them on loading."""

from __future__ import annotations

import codecs
import math
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from difflib import get_close_matches
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from mlcicd.contract.date_formats import date_format

NUMERIC, TEMPORAL = ("integer", "number"), ("date", "timestamp")
# Each bound of a column, and the comparison that a value must fulfil.
BOUNDS = {"minimum": ">=", "maximum": "<=", "exclusiveMinimum": ">", "exclusiveMaximum": "<"}
ROLES = ("id", "target", "time", "group")
# Custom properties that this project reads, of columns and of files.
COLUMN_PROPERTIES = {"role", "missing", "stored", "latestYear", "decimal", "thousands"}
FILE_PROPERTIES = {"delimiter", "decimal", "thousands", "quote", "escape", "encoding", "missing"}
SINGLE_CHARACTER = {"delimiter", "decimal", "thousands", "quote", "escape"}
# Names that other tools use for them; an error suggests ours.
ALIASES = {"sep": "delimiter", "separator": "delimiter", "charset": "encoding", "quotechar": "quote"} | {
    **dict.fromkeys(("na", "na_values", "nan", "null", "nulls"), "missing"),
    "escapechar": "escape",
}


def checked_bounds(kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Check a column's options; return its bounds, with dates as ISO text whether they were quoted in YAML or not."""
    given = {key: value for key, value in options.items() if value is not None}
    _check_applies(kind, NUMERIC + TEMPORAL, given, BOUNDS)
    _check_applies(kind, NUMERIC, given, ("multipleOf",))
    _check_applies(kind, ("string",), given, ("pattern", "minLength", "maxLength"))
    _check_applies(kind, TEMPORAL, given, ("format",))
    if "format" in given:
        date_format(given["format"])
    return {key: typed(given[key], kind, key) for key in BOUNDS if key in given}


def _check_applies(kind: str, kinds: Iterable[str], given: Mapping[str, Any], keys: Iterable[str]) -> None:
    """Refuse options that do not apply to a column of this type."""
    wrong = [key for key in keys if key in given]
    if wrong and kind not in kinds:
        raise ValueError(f"{wrong[0]} is for {' and '.join(kinds)} columns, not for {kind}")


def typed(value: Any, kind: str, key: str) -> Any:
    """Return a bound or allowed value if it has the column's type; dates as ISO text."""
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
    """Format a time as ISO text, without the time of day at midnight; the texts sort by time."""
    return stamp.isoformat().removesuffix("T00:00:00")


def check_custom(given: list[tuple[str, Any]], known: set[str], where: str) -> None:
    """Refuse a custom property that is misspelt, given twice, or has a value of the wrong type."""
    for name, value in given:
        if name not in known:
            suggestion = ALIASES.get(name.lower()) or next(iter(get_close_matches(name.lower(), known, 1, 0.7)), None)
            if suggestion in known:
                raise ValueError(f"unknown custom property '{name}' of {where}; did you mean '{suggestion}'?")
            continue  # it belongs to another tool
        if [n for n, _ in given].count(name) > 1:
            raise ValueError(f"custom property '{name}' of {where} is given twice")
        _check_value(name, value, where)


def _check_value(name: str, value: Any, where: str) -> None:
    expected = ""
    if name in SINGLE_CHARACTER and not (isinstance(value, str) and len(value) == 1):
        expected = "one character"
    elif name == "missing" and not (isinstance(value, list) and all(isinstance(word, str) for word in value)):
        expected = "a list of quoted texts, such as ['none', '-999']"
    elif name == "stored" and value != "integer":
        expected = "integer"
    elif name == "role" and value not in ROLES:
        expected = " or ".join(ROLES)
    elif name == "encoding" and not _is_encoding(value):
        expected = "an encoding, such as utf-8 or windows-1252"
    if expected:
        raise ValueError(f"{name} {value!r} of {where} is wrong: it takes {expected}")


def _is_encoding(value: Any) -> bool:
    try:
        return isinstance(value, str) and codecs.lookup(value)._is_text_encoding
    except (LookupError, ValueError):
        return False


def check_path(name: str, where: str) -> None:
    """Refuse a path that leads out of the project, or cannot be printed."""
    windows = PureWindowsPath(name)
    if not name.isprintable() or not name.strip():
        raise ValueError(f"physicalName {name[:60]!r} of {where} is not a path")
    if windows.drive or windows.root or ".." in windows.parts or PurePosixPath(name).parts[:1] == (".git",):
        raise ValueError(f"physicalName '{name[:60]}' of {where} leads out of the project; copy the file into it")


def check_comparison(left: str | None, right: str | None, where: str) -> None:
    """Refuse to compare columns of incomparable types; None is the type of a literal number."""
    family = dict.fromkeys((*NUMERIC, "boolean", None), "numbers") | dict.fromkeys(TEMPORAL, "dates")
    kinds = [family.get(side, "texts") for side in (left, right)]
    if kinds[0] != kinds[1]:
        raise ValueError(f"the rule {where} compares {kinds[0]} with {kinds[1]}")
