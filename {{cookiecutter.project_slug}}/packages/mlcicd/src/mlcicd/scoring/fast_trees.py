"""Fast predictions of gradient boosting for few rows: all trees are walked at once. Equal to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np

FEW = 32  # rows; with many more, one call per tree is faster


class StackedTrees:
    """The trees of one output of scikit-learn's HistGradientBoosting, as concatenated arrays of nodes."""

    def __init__(self, trees: list[np.ndarray]) -> None:
        sizes = [len(nodes) for nodes in trees]
        self.roots = np.cumsum([0, *sizes[:-1]])
        nodes, start = np.concatenate(trees), np.repeat(self.roots, sizes)
        leaf, own = nodes["is_leaf"].astype(bool), np.arange(len(nodes))
        if nodes["is_categorical"].any():
            raise ValueError("categorical splits are not supported")
        self.depth = int(nodes["depth"].max())
        self.column = np.where(leaf, 0, nodes["feature_idx"])
        self.threshold, self.value = nodes["num_threshold"].copy(), nodes["value"].copy()
        self.missing = nodes["missing_go_to_left"].astype(bool)
        # A leaf is its own child, so that all trees can be walked for the same number of steps.
        self.children = np.stack([np.where(leaf, own, start + nodes[side]) for side in ("right", "left")], axis=1)

    def add(self, first: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Add each tree's value to ``first`` (n,), in the order of the trees, for the rows of ``x`` (n, columns)."""
        rows = np.arange(len(x))[:, None]
        node = np.broadcast_to(self.roots, (len(x), len(self.roots)))
        for _ in range(self.depth):
            value = x[rows, self.column[node]]
            left = (value <= self.threshold[node]) | (self.missing[node] & np.isnan(value))
            node = self.children[node, left.astype(np.intp)]
        return np.cumsum(np.column_stack([first, self.value[node]]), axis=1)[:, -1]


def enable_fast_path(model: Any) -> None:
    """Speed up the predictions of a fitted HistGradientBoosting, alone or as the last step of a pipeline, in place.

    For one row most of the time goes into one call per tree. This relies on private attributes of scikit-learn: any
    other model, or another version without them, is left unchanged.
    """
    last = model.steps[-1][1] if hasattr(model, "steps") else model
    try:
        original = last._predict_iterations
        outputs = [StackedTrees([tree.nodes for tree in trees]) for trees in zip(*last._predictors, strict=True)]
    except (AttributeError, KeyError, TypeError, ValueError):
        return

    def walk(x: np.ndarray, predictors: Any, raw: np.ndarray, is_binned: bool, n_threads: int) -> None:
        if is_binned or len(x) > FEW:
            original(x, predictors, raw, is_binned, n_threads)
            return
        for column, trees in enumerate(outputs):
            raw[:, column] = trees.add(raw[:, column], x)

    last._predict_iterations = walk
