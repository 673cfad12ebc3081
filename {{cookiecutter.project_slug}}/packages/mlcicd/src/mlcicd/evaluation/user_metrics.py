"""Metrics of the user's: functions of y and p in ``model.py``, named as scikit-learn names its own.

``…_score`` is better higher; ``…_error``, ``…_loss``, ``…_deviance`` and ``…_cost`` are better lower.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

import numpy as np

from mlcicd.core import project

LOWER = ("_error", "_loss", "_deviance", "_cost")
ENDINGS = ("_score", *LOWER)
NAMED = re.compile(rf"^\s*(?:def\s+)?\w+(?:{'|'.join(ENDINGS)})\b", re.MULTILINE)
GROUPS = 100
Function = Callable[[np.ndarray, np.ndarray], float]


def functions() -> dict[str, Function]:
    """Return the functions by name; what ``model.py`` imports is not its own."""
    code = project.folder() / "model.py"
    if f"{project.package_name()}.model" not in sys.modules and not NAMED.search(code.read_text(encoding="utf-8")):
        return {}  # without an import of all that a model needs: a comparison needs none of it
    user_model = project.module("model")  # only now: a broken one should stop a training, not a report about it
    own = {n: f for n, f in vars(user_model).items() if getattr(f, "__module__", "") == user_model.__name__}
    return {name: function for name, function in own.items() if name.endswith(ENDINGS)}


def jackknife(function: Function, y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Influences of a function that is known by its values alone: what changes when some rows are left out."""
    parts = np.random.default_rng(0).permutation(len(y)) % min(GROUPS, len(y))
    size, without = _without(function, y, p, parts)
    return ((without.mean() - without) * (len(size) - 1) * np.sqrt(size))[parts]  # as of rows drawn one by one


def leave_out(function: Function, y: np.ndarray, p: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Influences, to be summed over the parts, where each of the numbered parts was drawn as a whole."""
    size, without = _without(function, y, p, parts)
    kept = len(y) - size
    return ((float(without @ kept) / kept.sum() - without) * kept / size)[parts]


def _without(function: Function, y: np.ndarray, p: np.ndarray, parts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows of each part, and the function of all rows but these."""
    size = np.bincount(parts)
    return size, np.asarray([function(y[parts != part], p[parts != part]) for part in range(len(size))])
