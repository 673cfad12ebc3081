"""Metrics of the user's: functions of y and p in ``model.py``, named as scikit-learn names its own.

``…_score`` is better higher; ``…_error``, ``…_loss``, ``…_deviance`` and ``…_cost`` are better lower.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

LOWER = ("_error", "_loss", "_deviance", "_cost")
ENDINGS = ("_score", *LOWER)
NAMED = re.compile(rf"^\s*(?:def\s+)?\w+(?:{'|'.join(ENDINGS)})\b", re.MULTILINE)
GROUPS = 100
PACKAGE = __name__.split(".")[0]
Function = Callable[[np.ndarray, np.ndarray], float]


def functions() -> dict[str, Function]:
    """Return the functions by name; what ``model.py`` imports is not its own."""
    code = Path(__file__).parents[1] / "model.py"
    if f"{PACKAGE}.model" not in sys.modules and not NAMED.search(code.read_text(encoding="utf-8")):
        return {}  # without an import of all that a model needs: a comparison needs none of it
    from .. import model as user_model  # only now: a broken one should stop a training, not a report about it

    own = {n: f for n, f in vars(user_model).items() if getattr(f, "__module__", "") == user_model.__name__}
    return {name: function for name, function in own.items() if name.endswith(ENDINGS)}


def jackknife(function: Function, y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Influences of a function that is known by its values alone: what changes when a group of rows is left out."""
    group = np.random.default_rng(0).permutation(len(y)) % min(GROUPS, len(y))
    size = np.bincount(group)
    without = np.asarray([function(y[group != g], p[group != g]) for g in range(len(size))])
    return ((without.mean() - without) * (len(size) - 1) * np.sqrt(size))[group]
