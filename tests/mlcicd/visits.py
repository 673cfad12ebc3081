"""A small table to begin a project with, for tests of what commands write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd


def write(root: Path, rows: int) -> None:
    """Write ``visits.csv``, of so many rows; the target is ``bought``."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"age": rng.integers(18, 80, rows), "city": rng.choice(["A", "B"], rows)})
    frame["bought"] = np.where(frame["age"] + rng.normal(0, 15, rows) > 50, "yes", "no")
    frame.to_csv(root / "visits.csv", index=False)
