"""What a loaded model holds that its type names do not show: settings that reach out, and indices that lead astray."""

from __future__ import annotations

from typing import Any

import numpy as np

# Settings by which an estimator reads files named in the data, or calls a method of another by its name.
METHODS = frozenset({"auto", "predict_proba", "predict_log_proba", "decision_function", "predict", "transform"})
SETTINGS = {
    "input": frozenset({"content"}),
    "response_method": METHODS,
    "stack_method": METHODS,
    "stack_method_": METHODS,
    "chain_method": METHODS,
    "chain_method_": METHODS,
}


def harmful(model: Any) -> str | None:
    """Return what is wrong with the contents of a loaded model, as words for people; None where nothing is."""
    seen: set[int] = set()
    waiting = [model]
    while waiting:
        found = waiting.pop()
        if found is None or isinstance(found, str | bytes | bytearray | int | float | type) or id(found) in seen:
            continue
        seen.add(id(found))
        state = getattr(found, "__dict__", None) or {}
        if problem := _setting_problem(found, state) or _tree_problem(found):
            return problem
        waiting.extend(state.values())
        if isinstance(found, dict):
            waiting.extend(found.values())
        elif isinstance(found, list | tuple | set | frozenset):
            waiting.extend(found)
        elif isinstance(found, np.ndarray) and found.dtype == object:
            waiting.extend(found.ravel().tolist())
    return None


def _setting_problem(found: Any, state: dict[str, Any]) -> str | None:
    for key, allowed in SETTINGS.items():
        given = state.get(key)
        for value in given if isinstance(given, list | tuple) else [given]:
            if isinstance(value, str) and value not in allowed:
                return f"{type(found).__name__} with {key}={value[:40]!r}"
    return None


def _tree_problem(found: Any) -> str | None:
    """Compiled code follows a tree's indices without a look: a child lies behind its parent, a feature is known."""
    kind, problem = type(found).__name__, f"a {type(found).__name__} whose indices lead out of it"
    if kind == "TreePredictor":
        nodes = found.nodes
        inner = ~nodes["is_leaf"].astype(bool)
        by_category = inner & nodes["is_categorical"].astype(bool)
        sets = min(len(found.raw_left_cat_bitsets), len(found.binned_left_cat_bitsets))
        children = np.stack([nodes["left"], nodes["right"]]).astype(np.int64)
        sound = _ordered(children, inner) and bool((nodes["bitset_idx"][by_category] < sets).all())
    elif _is_tree(found):
        inner, features = found.children_left != -1, found.feature
        children = np.stack([found.children_left, found.children_right])
        sound = _ordered(children, inner) and _between(features[inner], found.n_features)
    elif hasattr(found, "_predictors") and hasattr(found, "n_features_in_"):
        trees = [tree.nodes for stage in found._predictors for tree in stage]
        sound = all(
            _between(tree["feature_idx"][~tree["is_leaf"].astype(bool)], found.n_features_in_) for tree in trees
        )
    elif hasattr(found, "estimators_") and hasattr(found, "n_features_in_"):
        members = np.ravel(np.asarray(found.estimators_, dtype=object))
        trees = [member.tree_ for member in members if _is_tree(getattr(member, "tree_", None))]
        sound = all(tree.n_features <= found.n_features_in_ for tree in trees)
    elif _is_tree(getattr(found, "tree_", None)):
        sound = found.tree_.n_features <= found.n_features_in_
    else:
        return None
    return None if sound else problem


def _is_tree(found: Any) -> bool:
    return type(found).__module__ == "sklearn.tree._tree"


def _ordered(children: np.ndarray, inner: np.ndarray) -> bool:
    """Whether each child, of (2, nodes), lies behind its parent and inside the tree: no circle and no way out."""
    followed, parents = children[:, inner], np.flatnonzero(inner)
    return bool(len(inner) and (followed > parents).all() and (followed < len(inner)).all())


def _between(features: np.ndarray, count: int) -> bool:
    return bool(((features >= 0) & (features < count)).all())
