"""Parse dates and times, one text at a time in requests and a whole column at once in tables.

Without a ``format`` a column holds ISO dates: ``2026-01-31`` or ``2026-1-31``, alone or followed by a time such as
``T10``, ``T10:30`` or `` 10:30:59.5`` and a zone (``Z``, ``+02``, ``+0200``, ``+02:00``), which becomes UTC. Digits
beyond microseconds are cut. With a ``format``, the text must match a Java date pattern; leading zeros may be absent
if a separator follows the field.
"""

from __future__ import annotations

import re
from calendar import month_abbr, month_name
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pandas as pd

BLANKS = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
ZONE = r"(?:Z|(?P<z>[+-](?:[01][0-9]|2[0-3]))(?::?(?P<zm>[0-5][0-9]))?)"
FRACTION = r"(?:\.(?P<f>[0-9]+))?"
ISO = (
    r"(?P<Y>[0-9]{4})-(?P<m>[0-9]{1,2})-(?P<d>[0-9]{1,2})"
    rf"(?:[T ](?P<H>[0-9]{{2}})(?::(?P<M>[0-9]{{2}})(?::(?P<S>[0-9]{{2}}){FRACTION})?)?{ZONE}?)?"
)
# Texts that datetime.fromisoformat parses like this module, and twice as fast.
PADDED = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d(?::\d\d(?::\d\d(?:\.\d+)?)?)?(?:Z|[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?)?)?", re.ASCII
)
SHORT, LONG = ([name.lower() for name in names] for names in (month_abbr, month_name))  # the first is empty
# Java's letters → the field, a regular expression of its text, and the code of strptime.
LETTERS = {
    "yyyy": ("Y", r"[0-9]{4}", "%Y"),
    "yy": ("y", r"[0-9]{2}", "%y"),
    "MMMM": ("B", "(?i:" + "|".join(LONG[1:]) + ")", "%B"),
    "MMM": ("b", "(?i:" + "|".join(SHORT[1:]) + ")", "%b"),
    "a": ("p", "(?i:am|pm)", "%p"),
} | {
    letters: (field, "", code)
    for field, code, written in (
        *(("m", "%m", ("MM", "M")), ("d", "%d", ("dd", "d")), ("H", "%H", ("HH", "H")), ("I", "%I", ("hh", "h"))),
        *(("M", "%M", ("mm", "m")), ("S", "%S", ("ss", "s"))),
    )
    for letters in written
}
TOKEN = re.compile(r"'(?:[^']|'')*'|([A-Za-z])\1*|[^A-Za-z']")
LATEST_YEAR = 2068  # the default for two-digit years, as in POSIX
FIRST, LAST = np.datetime64("0001-01-01", "us"), np.datetime64("9999-12-31T23:59:59.999999", "us")


class DateFormat:
    """The date format of a column; use :func:`date_format` to create one from the contract's pattern."""

    def __init__(self, pattern: str | None, latest_year: int | None = None) -> None:
        tokens = _tokens(pattern) if pattern else []
        self.is_iso = not pattern
        self.expression = "".join(token for token, _ in tokens) or ISO
        self.strptime = "".join(code for _, code in tokens) or None
        self.latest_year = latest_year or LATEST_YEAR
        self._match = re.compile(self.expression).fullmatch

    def parse(self, text: str) -> datetime:
        """Parse a text as UTC without a zone; raise ValueError or OverflowError if it does not match."""
        if self.is_iso and PADDED.fullmatch(text):
            stamp = datetime.fromisoformat(text)
            return (stamp - stamp.utcoffset()).replace(tzinfo=None) if stamp.tzinfo else stamp  # type: ignore[operator]
        match = self._match(text)
        if match is None:
            raise ValueError(text)
        fields = match.groupdict(default="")
        hour = int(fields.get("H") or 0)
        if fields.get("I"):
            hour = _hour_of_day(int(fields["I"]), fields.get("p", ""))
        minute, second = int(fields.get("M") or 0), int(fields.get("S") or 0)
        micro = int((fields.get("f") or "")[:6].ljust(6, "0"))
        stamp = datetime(self._year(fields), _month(fields), int(fields["d"]), hour, minute, second, micro)
        if not fields.get("z"):
            return stamp
        minutes = 60 * abs(int(fields["z"])) + int(fields["zm"] or 0)
        return stamp - timedelta(minutes=-minutes if fields["z"][0] == "-" else minutes)

    def _year(self, part: dict[str, str]) -> int:
        return century(int(part["y"]), self.latest_year) if part.get("y") else int(part["Y"])

    @cached_property
    def _arrow_types(self) -> list[Any]:
        import pyarrow as pa

        return [pa.timestamp(unit, zone) for unit in ("us", "ns") for zone in (None, "UTC")]

    def parse_all(self, texts: Any) -> np.ndarray:
        """Parse an Arrow array of texts; NaT where a text is null or does not match."""
        import pyarrow as pa
        import pyarrow.compute as pc

        for kind in self._arrow_types if self.is_iso else []:
            try:  # Arrow parses zero-padded dates eight times faster, if all have the same form
                times = pc.cast(texts, kind).to_numpy(zero_copy_only=False).astype("datetime64[us]")
                return np.where((times >= FIRST) & (times <= LAST), times, np.datetime64("NaT", "us"))
            except pa.ArrowInvalid:
                continue
        coded = pc.dictionary_encode(texts)
        known = np.append(self._parse_with_pandas(coded.dictionary), np.datetime64("NaT", "us"))
        return known[pc.fill_null(coded.indices, len(known) - 1).to_numpy(zero_copy_only=False)]

    def _parse_with_pandas(self, texts: Any) -> np.ndarray:
        """Parse texts that match the expression with pandas; alone, it would also accept ``2026`` or ``today``."""
        import pyarrow.compute as pc

        matches = pc.match_substring_regex(texts, f"^(?:{re.sub(r'[?]P<[a-zA-Z]+>', '?:', self.expression)})$")
        cut = pc.replace_substring_regex(texts, r"(\.[0-9]{6})[0-9]+", r"\1") if "?P<f>" in self.expression else texts
        plain = pd.Series(pc.if_else(matches, cut, None).to_pandas(), dtype="str")
        stamps = pd.to_datetime(plain, format=self.strptime or "ISO8601", errors="coerce", utc=True)
        times = stamps.dt.tz_localize(None).dt.as_unit("us").to_numpy()
        if "?P<y>" in self.expression:
            times = _in_century(times, self.latest_year)
        return np.where((times >= FIRST) & (times <= LAST), times, np.datetime64("NaT", "us"))


def century(year: Any, latest: int) -> Any:
    """Return the year with the same last two digits in the century that ends with ``latest``."""
    return latest - (latest - year) % 100


def _in_century(times: np.ndarray, latest: int) -> np.ndarray:
    """Move times with two-digit years into the century that ends with ``latest``."""
    months, years = times.astype("datetime64[M]"), times.astype("datetime64[Y]")
    number = np.where(np.isnat(times), latest, years.astype("int64") + 1970)
    new_months = months + 12 * (century(number, latest) - number)
    result = new_months + (times - months)
    # 29 February 2000 has no counterpart in 1900.
    return np.where(result.astype("datetime64[M]") == new_months, result, np.datetime64("NaT", "us"))


@lru_cache(maxsize=256)
def date_format(pattern: str | None, latest_year: int | None = None) -> DateFormat:
    """Return the date format of a contract's ``format``; None is ISO. ``latest_year`` is for two-digit years.

    Raises
    ------
    ValueError
        The pattern has unknown letters, a field twice, or lacks year, month or day.
    """
    return DateFormat(pattern, latest_year)


def _month(part: dict[str, str]) -> int:
    if part.get("b"):
        return SHORT.index(part["b"].lower())
    return LONG.index(part["B"].lower()) if part.get("B") else int(part.get("m") or 1)


def _hour_of_day(hour: int, half: str) -> int:
    if not 1 <= hour <= 12:
        raise ValueError(hour)
    return hour % 12 + 12 * (half.lower() == "pm")


def _tokens(pattern: str) -> list[tuple[str, str]]:
    """Translate a Java date pattern into parts of a regular expression and codes of strptime."""
    parts, fields, position = [], [], 0
    tokens = list(TOKEN.finditer(pattern))
    if "".join(t[0] for t in tokens) != pattern:
        raise ValueError(f"the quote in {pattern!r} is not closed")
    for number, token in enumerate(tokens):
        text = token[0]
        if not token[1]:
            plain = text[1:-1].replace("''", "'") or "'" if text[0] == "'" else text
            parts.append(("".join(c if c.isalnum() else _escape(c) for c in plain), plain.replace("%", "%%")))
            continue
        if set(text) == {"S"} and len(text) <= 9:
            field, written, code = "f", rf"[0-9]{{1,{len(text)}}}", "%f"
        elif text in LETTERS:
            field, written, code = LETTERS[text]
        else:
            known = ", ".join([*LETTERS, "SSS"])
            raise ValueError(f"{text!r} in {pattern!r} is unknown; the letters are {known}, and text in 'quotes'")
        beside = [tokens[i] for i in (number - 1, number + 1) if 0 <= i < len(tokens)]
        glued = any(t[1] and t[1] != "a" for t in beside)
        parts.append((f"(?P<{field}>{written or ('[0-9]{2}' if glued else '[0-9]{1,2}')})", code))
        fields.append({"y": "Y", "b": "m", "B": "m", "I": "H"}.get(field, field))
        position += 1
    if len(set(fields)) < len(fields):
        raise ValueError(f"{pattern!r} names a field twice")
    if missing := [word for field, word in (("Y", "year"), ("m", "month"), ("d", "day")) if field not in fields]:
        raise ValueError(f"{pattern!r} has no {missing[0]}")
    return parts


def _escape(letter: str) -> str:
    return letter if letter in " -/,:_" or ord(letter) > 127 else "\\" + letter
