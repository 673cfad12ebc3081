"""Boosted trees asked for few rows: all trees walked at once, instead of one call for each. Equal to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np

FEW = 32  # rows: far above, a call a tree is quicker


class Forest:
    """The trees of one output of scikit-learn's HistGradientBoosting, their nodes laid end to end."""

    def __init__(self, trees: list[np.ndarray]) -> None:
        sizes = [len(nodes) for nodes in trees]
        self.roots = np.cumsum([0, *sizes[:-1]])
        nodes, start = np.concatenate(trees), np.repeat(self.roots, sizes)
        leaf, own = nodes["is_leaf"].astype(bool), np.arange(len(nodes))
        if nodes["is_categorical"].any():
            raise ValueError("a split by category is a set of bits, which is not walked here")
        self.depth = int(nodes["depth"].max())
        self.column = np.where(leaf, 0, nodes["feature_idx"])
        self.threshold, self.value = nodes["num_threshold"].copy(), nodes["value"].copy()
        self.missing = nodes["missing_go_to_left"].astype(bool)
        # Left and right side by side; a leaf leads to itself, so that all trees can be walked equally far.
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


def quicken(model: Any) -> None:
    """Let a fitted HistGradientBoosting, alone or at the end of a pipeline, walk few rows at once; leave any other be.

    A call a tree is most of the time of one row. This reaches into what scikit-learn keeps to itself; where another
    version keeps it otherwise, the model stays as it is.
    """
    last = model.steps[-1][1] if hasattr(model, "steps") else model
    try:
        usual = last._predict_iterations
        forests = [Forest([tree.nodes for tree in trees]) for trees in zip(*last._predictors, strict=True)]
    except (AttributeError, KeyError, TypeError, ValueError):
        return

    def walk(x: np.ndarray, predictors: Any, raw: np.ndarray, is_binned: bool, n_threads: int) -> None:
        if is_binned or len(x) > FEW:
            usual(x, predictors, raw, is_binned, n_threads)
            return
        for column, forest in enumerate(forests):
            raw[:, column] = forest.add(raw[:, column], x)

    last._predict_iterations = walk
