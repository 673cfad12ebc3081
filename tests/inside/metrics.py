"""Metrics against scikit-learn, influences against derivatives."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn import metrics as theirs

PACKAGE = next(iter(entry_points(group="console_scripts", name="ml"))).value.partition(".")[0]
MODEL = importlib.import_module(f"{PACKAGE}.model")
metrics = importlib.import_module(f"{PACKAGE}.pipeline.metrics")
params = importlib.import_module(f"{PACKAGE}.pipeline.params")
inference = importlib.import_module(f"{PACKAGE}.pipeline.inference")
custom = importlib.import_module(f"{PACKAGE}.pipeline.custom")
thresholds = importlib.import_module(f"{PACKAGE}.pipeline.thresholds")
calibration = importlib.import_module(f"{PACKAGE}.pipeline.calibration")
COSTS = params.Costs(false_positive=10, false_negative=4)
MATRIX = params.Costs(matrix={"a": {"b": 1, "c": 9}, "b": {"a": 2, "c": 3}, "c": {"a": 5, "b": 4}})
QUICK = settings(max_examples=60, deadline=None)


@st.composite
def binary(draw):
    """Targets, predictions with many ties, and weights, some of them whole numbers or zero."""
    n = draw(st.integers(4, 60))
    y = np.asarray(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    p = np.asarray(draw(st.lists(st.sampled_from(np.linspace(0, 1, 11).tolist()), min_size=n, max_size=n)))
    w = np.asarray(draw(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.7]), min_size=n, max_size=n)))
    assume(w[y == 1].sum() > 0 and w[y == 0].sum() > 0)
    return y, p, w


@st.composite
def three(draw):
    n = draw(st.integers(6, 50))
    y = np.asarray(draw(st.lists(st.integers(0, 2), min_size=n, max_size=n)))
    raw = np.asarray(draw(st.lists(st.integers(0, 3), min_size=3 * n, max_size=3 * n)), dtype=float).reshape(n, 3)
    w = np.asarray(draw(st.lists(st.sampled_from([0.5, 1.0, 2.0]), min_size=n, max_size=n)))
    assume(len(set(y.tolist())) == 3)
    return y, (raw + 0.25) / (raw + 0.25).sum(axis=1, keepdims=True), w


@st.composite
def numbers(draw):
    n = draw(st.integers(3, 50))
    values = st.lists(st.floats(-1e3, 1e3), min_size=n, max_size=n)
    y, p = np.asarray(draw(values)), np.asarray(draw(values))
    w = np.asarray(draw(st.lists(st.sampled_from([0.5, 1.0, 2.0]), min_size=n, max_size=n)))
    assume(np.std(y) > 1e-2)
    return y, p, w


def close(ours: float, other: float) -> None:
    assert ours == pytest.approx(other, rel=1e-12, abs=1e-12)


@QUICK
@given(binary(), st.sampled_from([0.0, 0.3, 0.5, 1.0]))
def test_binary(data, threshold):
    y, p, w = data
    ours = metrics.metrics_for("binary", threshold, COSTS)
    close(ours["roc_auc"].function(y, p, w), theirs.roc_auc_score(y, p, sample_weight=w))
    close(ours["average_precision"].function(y, p, w), theirs.average_precision_score(y, p, sample_weight=w))
    close(ours["log_loss"].function(y, p, w), theirs.log_loss(y, p, sample_weight=w, labels=[0, 1]))
    close(ours["brier"].function(y, p, w), theirs.brier_score_loss(y, p, sample_weight=w))
    chosen = (p >= threshold).astype(int)
    close(ours["accuracy"].function(y, p, w), theirs.accuracy_score(y, chosen, sample_weight=w))
    for name in ("precision", "recall", "f1"):
        their = getattr(theirs, f"{name}_score")
        close(ours[name].function(y, p, w), their(y, chosen, sample_weight=w, zero_division=0))
    (tn, fp), (fn, tp) = theirs.confusion_matrix(y, chosen, sample_weight=w, labels=[0, 1])
    close(ours["cost"].function(y, p, w), (10 * fp + 4 * fn) / (tn + fp + fn + tp))


@QUICK
@given(three())
def test_multiclass(data):
    y, p, w = data
    ours, guess = metrics.metrics_for("multiclass", costs=MATRIX), p.argmax(axis=1)
    close(ours["log_loss"].function(y, p, w), theirs.log_loss(y, p, sample_weight=w))
    close(ours["accuracy"].function(y, p, w), theirs.accuracy_score(y, guess, sample_weight=w))
    close(ours["balanced_accuracy"].function(y, p, w), theirs.balanced_accuracy_score(y, guess, sample_weight=w))
    close(ours["f1_macro"].function(y, p, w), theirs.f1_score(y, guess, sample_weight=w, average="macro"))
    close(
        ours["roc_auc"].function(y, p, w),
        np.mean([theirs.roc_auc_score(y == k, p[:, k], sample_weight=w) for k in range(3)]),
    )
    table = np.asarray([[0, 1, 9], [2, 0, 3], [5, 4, 0]])
    expected = np.einsum("nt,tg->ng", p, table)
    assert np.array_equal(metrics.cheapest(p, MATRIX), expected.argmin(axis=1))
    close(ours["cost"].function(y, p, w), np.average(table[y, expected.argmin(axis=1)], weights=w))


@QUICK
@given(numbers())
def test_regression(data):
    y, p, w = data
    ours = metrics.metrics_for("regression")
    close(ours["rmse"].function(y, p, w), theirs.root_mean_squared_error(y, p, sample_weight=w))
    close(ours["mae"].function(y, p, w), theirs.mean_absolute_error(y, p, sample_weight=w))
    close(ours["r2"].function(y, p, w), theirs.r2_score(y, p, sample_weight=w))


def test_a_single_class_has_no_area_and_says_so():
    y, p = np.zeros(5, dtype=int), np.linspace(0, 1, 5)
    ours = metrics.metrics_for("binary", 0.5)
    assert np.isnan(ours["roc_auc"].value(y, p))
    assert np.isnan(ours["average_precision"].value(y, p))
    assert ours["recall"].value(y, p) == 0.0
    assert np.isnan(metrics.metrics_for("regression")["r2"].value(np.ones(4), np.arange(4.0)))


def sample(task: str, n: int = 400):
    rng = np.random.default_rng(5)
    signal = rng.normal(size=n)
    if task == "regression":
        return signal + rng.normal(size=n), signal
    if task == "binary":
        p = np.round(1 / (1 + np.exp(-signal)), 2).clip(0.01, 0.99)  # ties
        return (rng.random(n) < p).astype(int), p
    raw = np.exp(rng.normal(size=(n, 3)))
    p = raw / raw.sum(axis=1, keepdims=True)
    return np.asarray([rng.choice(3, p=row) for row in p]), p


def weighted(metric, y, p):
    """A metric as a function of weights; of a calibration error the square, before chance is taken off."""
    if metric.reliability is None:
        return lambda w: metric.function(y, p, w)

    def square(w):
        _, size, gap, _ = calibration.gaps(*metric.reliability(y, p), w)
        return size @ gap**2 / w.sum()

    return square


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_an_influence_is_n_times_the_derivative_by_a_weight(task):
    y, p = sample(task)
    costs = {"binary": COSTS, "multiclass": MATRIX, "regression": None}[task]
    for metric in metrics.metrics_for(task, 0.6, costs).values():
        influence = metric.influence(y, p)
        assert influence.mean() == pytest.approx(0, abs=1e-6), metric.name
        for row in range(0, len(y), 37):
            up, down = np.ones(len(y)), np.ones(len(y))
            up[row], down[row] = 1 + 1e-4, 1 - 1e-4
            value = weighted(metric, y, p)
            derivative = len(y) * (value(up) - value(down)) / 2e-4
            assert influence[row] == pytest.approx(derivative, rel=1e-3, abs=1e-5), metric.name


@QUICK
@given(binary(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(data, random):
    y, p, _ = data
    order = list(range(len(y)))
    random.shuffle(order)
    for metric in metrics.metrics_for("binary", 0.5, COSTS).values():
        assert metric.value(y[order], p[order]) == pytest.approx(metric.value(y, p), rel=1e-9, abs=1e-12)
        assert metric.influence(y[order], p[order]) == pytest.approx(metric.influence(y, p)[order], rel=1e-6, abs=1e-9)


@QUICK
@given(binary(), st.sampled_from([COSTS, params.Costs(false_positive=1, false_negative=1)]))
def test_the_threshold_is_the_cheapest_but_for_what_chance_explains(data, costs):
    y, p, _ = data
    chosen = thresholds.best_threshold(y, p, costs)
    own = metrics.case_costs(y, p >= chosen, costs)
    other = [metrics.case_costs(y, p >= t, costs) for t in np.linspace(-0.05, 1.05, 23)]
    cheapest = min(other, key=np.mean)
    slack = 3 * max(np.std(own - o) for o in other if np.isclose(o.mean(), cheapest.mean())) / np.sqrt(len(y))
    assert own.mean() <= cheapest.mean() + slack + 1e-9


@pytest.mark.parametrize("costs", [None, COSTS])
def test_the_threshold_of_a_model_that_ranks_perfectly_makes_no_mistake(costs):
    y, p = np.arange(200) // 100, np.linspace(0, 1, 200) ** 3
    assert np.array_equal(p >= thresholds.best_threshold(y, p, costs), y == 1)


def test_without_costs_the_threshold_serves_f1():
    y, p = sample("binary", 5000)
    chosen = thresholds.best_threshold(y, p, None)
    best = max(theirs.f1_score(y, p >= t) for t in np.unique(p))
    assert theirs.f1_score(y, p >= chosen) > best - 0.005


def test_a_calibrated_model_shows_no_calibration_error_on_average():
    rng, squares = np.random.default_rng(1), []
    for _ in range(300):
        p = rng.beta(4, 1, 1000)
        squares.append(calibration.square((rng.random(1000) < p).astype(int), p, np.ones(1000)))
    assert abs(np.mean(squares)) < 3 * np.std(squares) / np.sqrt(300)


def test_a_function_of_the_users_is_a_metric_with_an_interval(monkeypatch):
    def hit_score(y, p):
        return np.mean((p >= 0.6) == (y == 1))

    def miss_error(y, p):
        return 1 - hit_score(y, p)

    for function in (hit_score, miss_error):
        function.__module__ = MODEL.__name__
        monkeypatch.setattr(MODEL, function.__name__, function, raising=False)
    y, p = sample("binary")
    known = metrics.metrics_for("binary", 0.6)
    assert (known["hit_score"].sign, known["miss_error"].sign) == (1, -1)
    assert known["hit_score"].value(y, p) == known["accuracy"].value(y, p)
    ours, exact = (np.var(known[name].influence(y, p)) for name in ("hit_score", "accuracy"))
    assert ours == pytest.approx(exact, rel=0.5)  # a variance from a hundred groups of rows


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_an_interval_holds_its_value_and_a_share_stays_one(task):
    y, p = sample(task)
    for metric in metrics.metrics_for(task, 0.6, COSTS if task == "binary" else None).values():
        found = inference.interval(metric, y, p, 0.95)
        assert found["low"] <= found["value"] <= found["high"], metric.name
        if metric.unit:
            assert 0 <= found["low"] <= found["high"] <= 1
    perfect = np.where(y == 1, 0.9, 0.1) if task == "binary" else None
    if perfect is not None:
        found = inference.interval(metrics.metrics_for("binary", 0.6)["accuracy"], y, perfect, 0.95)
        assert found["high"] == 1 and 0.98 < found["low"] < 1  # the rule of three, not certainty


@pytest.mark.parametrize(
    ("task", "costs", "words"),
    [
        ("binary", {"false_positive": 1}, "false_negative"),
        ("binary", {"matrix": {"a": {"b": 1}, "b": {"a": 1}}}, "false_negative"),
        ("multiclass", {"false_positive": 1, "false_negative": 1}, "matrix"),
        ("multiclass", {"matrix": {"a": {"b": 1}, "b": {}}}, "'b' and predicted 'a'"),
        ("regression", {"false_positive": 1, "false_negative": 1}, "none"),
    ],
)
def test_costs_that_do_not_fit_the_task_are_refused(tmp_path, task, costs, words):
    import yaml

    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump({"seed": 1, "task": task, "costs": costs}))
    with pytest.raises(params.InputError, match=words):
        params.load(file)
