"""A stopwatch, of the standard library alone: the scripts run in environments that share nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable


def fastest(function: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest of several calls."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        found.append(time.perf_counter() - start)
    return min(found)
