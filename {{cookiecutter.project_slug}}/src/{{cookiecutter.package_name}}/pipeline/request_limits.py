"""How much a request may hold, counted before anything is built from it."""

from __future__ import annotations

import numpy as np

LEAST = 200_000  # values that any service takes, however few columns and records it has
QUOTE, SIGNS = ord('"'), [ord(sign) for sign in ",[{"]


def values_allowed(max_records: int, columns: int) -> int:
    """Return how many JSON values a request may hold: twice what full records need."""
    return max(LEAST, 2 * max_records * (columns + 1))


def at_most(body: bytes, limit: int) -> bool:
    """Say whether a JSON text holds at most ``limit`` values; a name in an object counts with its value.

    Each value but the first follows a comma or an opening bracket. Those inside texts do not count.
    """
    if len(body) <= 2 * limit or sum(body.count(sign) for sign in (b",", b"[", b"{")) < limit:
        return True
    plain = np.frombuffer(body.replace(b"\\\\", b"").replace(b'\\"', b""), dtype=np.uint8)
    inside = np.logical_xor.accumulate(plain == QUOTE)
    return int((np.isin(plain, SIGNS) & ~inside).sum()) < limit
