"""Names for bins, slices and levels that differ where what they name differs."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pandas as pd

FORMATS = ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S.%f")


def unused(name: str, taken: Collection[str]) -> str:
    """Return a made-up name, in brackets where a value of the data is called so: ``(other)`` beside ``other``."""
    while name in taken:
        name = f"({name})"
    return name


def number_names(values: Sequence[float]) -> list[str]:
    """Write numbers with as few digits as keep them apart, but six."""
    for digits in range(6, 18):
        names = [f"{value:.{digits}g}" for value in values]
        if len(set(names)) == len(set(values)):
            break
    return names


def time_names(values: Sequence[pd.Timestamp]) -> list[str]:
    """Write times as days, or as precisely as keeps them apart."""
    for form in FORMATS:
        names = [value.strftime(form) for value in values]
        if len(set(names)) == len(set(values)):
            break
    return names
