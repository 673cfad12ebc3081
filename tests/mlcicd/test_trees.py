"""Trees walked at once give what scikit-learn gives, to the bit."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlcicd.scoring import fast_trees
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

EXAMPLES = settings(max_examples=50)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 4))
X[RNG.random(X.shape) < 0.2] = np.nan
SCORE = np.nansum(X, axis=1) + 3 * np.isnan(X[:, 1])
CLASSES = np.digitize(SCORE, [-1, 1])
MODELS = {
    "binary": HistGradientBoostingClassifier(max_iter=30).fit(X, SCORE > 0),
    "multiclass": HistGradientBoostingClassifier(max_iter=20).fit(X, CLASSES),
    "number": HistGradientBoostingRegressor(max_iter=30).fit(X, SCORE),
    "counts": HistGradientBoostingRegressor(max_iter=10, loss="poisson").fit(X, np.abs(SCORE)),
    "one leaf": HistGradientBoostingRegressor(max_iter=3, min_samples_leaf=300).fit(X, SCORE),
    "in a pipeline": make_pipeline(StandardScaler(), HistGradientBoostingClassifier(max_iter=10)).fit(X, SCORE > 0),
}
SEEN = sorted({float(v) for v in X.ravel() if np.isfinite(v)})


def answer(model, x: np.ndarray) -> bytes:
    return (model.predict_proba if hasattr(model, "predict_proba") else model.predict)(x).tobytes()


def quick(model):
    found = copy.deepcopy(model)
    fast_trees.enable_fast_path(found)
    return found


QUICK = {name: quick(model) for name, model in MODELS.items()}
# Values of the training rows among them: thresholds lie between two of these.
cell = st.one_of(st.floats(-5, 5), st.sampled_from(SEEN), st.sampled_from([np.nan, 1e300, -1e300, 0.0, -0.0]))


@pytest.mark.parametrize("name", MODELS)
@EXAMPLES
@given(rows=st.lists(st.lists(cell, min_size=4, max_size=4), min_size=1, max_size=fast_trees.FEW + 3))
def test_few_rows_are_answered_to_the_bit(name: str, rows: list[list[float]]) -> None:
    assert answer(QUICK[name], np.asarray(rows)) == answer(MODELS[name], np.asarray(rows))


@pytest.mark.parametrize("name", MODELS)
def test_the_usual_way_is_taken_for_many_rows_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    add = fast_trees.StackedTrees.add
    monkeypatch.setattr(
        fast_trees.StackedTrees, "add", lambda self, first, x: asked.append(len(x)) or add(self, first, x)
    )
    QUICK[name].predict(X[:3])
    assert set(asked) == {3}
    QUICK[name].predict(X)
    assert set(asked) == {3}


def test_exact_thresholds_go_left() -> None:
    model, fast = MODELS["number"], QUICK["number"]
    at = [t for (p,) in model._predictors for t in p.nodes["num_threshold"][p.nodes["is_leaf"] == 0]]
    x = np.repeat(np.asarray(at)[:, None], 4, axis=1)
    for start in range(0, len(x), fast_trees.FEW):
        assert answer(fast, x[start : start + fast_trees.FEW]) == answer(model, x[start : start + fast_trees.FEW])


def test_what_is_not_known_is_left_as_it_is() -> None:
    words = pd.DataFrame({"word": pd.Categorical(RNG.choice(list("abcd"), 400)), "x": X[:, 0]})
    target = (words["word"] == "a") ^ (SCORE > 0)
    categorical = HistGradientBoostingClassifier(max_iter=10).fit(words, target)
    linear = LogisticRegression().fit(np.nan_to_num(X), target)
    for model, x in ((categorical, words.head(5)), (linear, np.nan_to_num(X[:5]))):
        fast = quick(model)
        assert "_predict_iterations" not in vars(fast)
        assert answer(fast, x) == answer(model, x)
