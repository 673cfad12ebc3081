"""A table of eight columns, and its checks written by hand in pandas: what `tables.py` and `gx.py` measure against."""

from __future__ import annotations

import numpy as np
import pandas as pd

LETTERS, DIGITS, FIRST_DAY = list("abcd"), "^[0-9]{5}$", "2020-01-01"
REQUIRED = ["id", "a", "c", "d", "e", "f", "y"]
BOUNDED = ["a", "b", "c"]  # between 0 and 100


def make(rows: int) -> pd.DataFrame:
    """Return rows that keep every rule."""
    rng = np.random.default_rng(0)
    days = pd.Timestamp("2021-01-01") + pd.to_timedelta(rng.integers(0, 500, rows), "D")
    return pd.DataFrame(
        {
            "id": np.arange(rows),
            "a": rng.uniform(0, 100, rows),
            "b": np.where(rng.random(rows) < 0.1, np.nan, rng.uniform(0, 100, rows)),
            "c": rng.integers(0, 100, rows),
            "d": pd.Series(rng.choice(LETTERS, rows)).astype("str"),
            "e": pd.Series(rng.integers(10_000, 99_999, rows)).astype("str"),
            "f": pd.Series(days).astype("datetime64[us]"),
            "y": rng.integers(0, 2, rows),
        }
    )


def by_hand(frame: pd.DataFrame) -> int:
    """Count what breaks a rule."""
    bad = frame["id"].duplicated(keep=False).sum()
    for name in BOUNDED:
        bad += (~frame[name].between(0, 100) & frame[name].notna()).sum()
    bad += frame[REQUIRED].isna().sum().sum()
    bad += (~frame["d"].isin(LETTERS)).sum()
    bad += (~frame["e"].str.contains(DIGITS, regex=True)).sum()
    return int(bad + (frame["f"] < pd.Timestamp(FIRST_DAY)).sum())
