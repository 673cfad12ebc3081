"""Limit the number of values in a request before it is parsed."""

from __future__ import annotations

import numpy as np

MIN_LIMIT = 200_000  # values that every service accepts, however few columns it has
QUOTE, SIGNS = ord('"'), [ord(sign) for sign in ",[{"]


def values_allowed(max_records: int, columns: int) -> int:
    """Return how many JSON values a request may contain: twice what ``max_records`` full records need."""
    return max(MIN_LIMIT, 2 * max_records * (columns + 1))


def has_at_most(body: bytes, limit: int) -> bool:
    """Return whether a JSON text contains at most ``limit`` values; a key and its value count as one.

    Values are counted by the commas and opening brackets outside of strings that precede them.
    """
    if len(body) <= 2 * limit or sum(body.count(sign) for sign in (b",", b"[", b"{")) < limit:
        return True
    unescaped = np.frombuffer(body.replace(b"\\\\", b"").replace(b'\\"', b""), dtype=np.uint8)
    inside = np.logical_xor.accumulate(unescaped == QUOTE)
    return int((np.isin(unescaped, SIGNS) & ~inside).sum()) < limit
