"""Bins of equally many values."""

from __future__ import annotations

import numpy as np


def quantile_edges(values: np.ndarray, bins: int) -> np.ndarray:
    """Return the inner edges of bins of about equally many values; fewer edges where values repeat."""
    return np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1]))
