"""The search for the model's arguments, where the best ones are known."""

from __future__ import annotations

import numpy as np
import pytest
from mlcicd.core import params as parameters
from mlcicd.training import search
from scipy.stats import randint, uniform

SPACE = {"depth": randint(2, 60), "kind": ["plain", "odd"], "rate": [0.1, 0.2, 0.3, 0.4, 0.5], "share": uniform(0, 1)}
FOLDS = [(np.arange(90), np.arange(90, 100)), (np.arange(10, 100), np.arange(10))]


def found(evaluate, seed: int = 7, model: dict | None = None, **budget: object):
    """Search with the scores that a function of the arguments and of the rows to fit on gives."""
    chosen = parameters.Params(seed=seed, task="binary", model=model or {}, search=parameters.Search(folds=2, **budget))
    scores = lambda trials: (evaluate(own.model, fit, judge) for own, fit, judge in trials)  # noqa: E731
    return search.search_hyperparameters(chosen, SPACE, FOLDS, scores, lambda _: None)


@pytest.mark.parametrize("method", ["random", "halving"])
def test_it_comes_near_the_best_and_no_space_is_called_too_narrow(method: str) -> None:
    best = found(lambda m, *_: -abs(m.get("share", 9) - 0.5), method=method, fits=120)
    assert best.params.model["share"] == pytest.approx(0.5, abs=0.1)
    assert "share" not in best.edges


@pytest.mark.parametrize("method", ["random", "halving"])
@pytest.mark.parametrize(("name", "sign"), [("share", 1), ("share", -1), ("depth", 1), ("depth", -1), ("rate", 1)])
def test_a_best_value_at_the_end_of_its_space_is_named(method: str, name: str, sign: int) -> None:
    best = found(lambda m, *_: sign * m.get(name, -99 * sign), method=method, fits=120)
    assert best.edges[name] == best.params.model[name]


def test_where_nothing_matters_an_edge_is_seldom_named() -> None:
    def noise(*_: object) -> float:
        return rng.normal()

    named = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        named += bool(found(noise, seed, fits=40).edges)
    assert named <= 20


def test_what_is_there_already_stays_where_nothing_is_better() -> None:
    mine = {"rate": 9, "depth": None}  # neither is in the space
    best = found(lambda m, *_: float(m["depth"] is None), model=mine, fits=20)
    assert best.params.model == mine


@pytest.mark.parametrize("method", ["random", "halving"])
@pytest.mark.parametrize("model", [{}, {"share": 0.5}, {"rate": 9, "depth": None}])
@pytest.mark.parametrize("score", [0.0, 0.8, float("nan")])
def test_a_tie_goes_to_the_settings_at_hand(method: str, model: dict, score: float) -> None:
    assert found(lambda *_: score, model=model, method=method, fits=40).params.model == model


def test_a_tie_among_better_candidates_goes_to_the_first_of_them() -> None:
    tried: list[dict] = []

    def evaluate(model: dict, *_: object) -> float:
        tried.append(model)
        return float("share" in model)

    assert found(evaluate, fits=40).params.model == next(model for model in tried if "share" in model)


def test_more_rows_are_given_to_fewer_candidates() -> None:
    rows: list[int] = []

    def count(_model: dict, fit: np.ndarray, _judge: np.ndarray) -> float:
        rows.append(len(fit))
        return 0.0

    assert found(count, method="halving", fits=30).fits == 30
    assert rows == [10] * 22 + [30] * 6 + [90] * 2


def test_a_fold_that_cannot_judge_does_not_judge() -> None:
    def one_class(model: dict, _fit: np.ndarray, judge: np.ndarray) -> float:
        return float("nan") if judge[0] == 0 else model.get("share", -1.0)

    assert found(one_class, fits=80).params.model["share"] > 0.9
