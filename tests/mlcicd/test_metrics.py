"""Metrics against scikit-learn, influences against derivatives."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mlcicd.core import params, project
from mlcicd.evaluation import calibration_error, metrics, thresholds, uncertainty
from sklearn import metrics as theirs

PACKAGE = project.package_name()
MODEL = importlib.import_module(f"{PACKAGE}.model")

COSTS = params.Costs(false_positive=10, false_negative=4)
MATRIX = params.Costs(matrix={"a": {"b": 1, "c": 9}, "b": {"a": 2, "c": 3}, "c": {"a": 5, "b": 4}})
QUICK = settings(max_examples=60)
EACH = settings(max_examples=25)  # of each metric by name


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


def of_decisions(name):
    """A metric of scikit-learn's that judges decisions instead of probabilities."""
    function = getattr(theirs, f"{name}_score")
    more = {} if name == "accuracy" else {"zero_division": 0}
    return lambda y, p, w, threshold: function(y, p >= threshold, sample_weight=w, **more)


def cost_of_counts(y, p, w, threshold):
    (tn, fp), (fn, tp) = theirs.confusion_matrix(y, p >= threshold, sample_weight=w, labels=[0, 1])
    return (10 * fp + 4 * fn) / (tn + fp + fn + tp)


BINARY = {
    "roc_auc": lambda y, p, w, _: theirs.roc_auc_score(y, p, sample_weight=w),
    "average_precision": lambda y, p, w, _: theirs.average_precision_score(y, p, sample_weight=w),
    "log_loss": lambda y, p, w, _: theirs.log_loss(y, p, sample_weight=w, labels=[0, 1]),
    "brier": lambda y, p, w, _: theirs.brier_score_loss(y, p, sample_weight=w),
    **{name: of_decisions(name) for name in ("accuracy", "precision", "recall", "f1")},
    "cost": cost_of_counts,
}


@pytest.mark.parametrize("name", BINARY)
@EACH
@given(binary(), st.sampled_from([0.0, 0.3, 0.5, 1.0]))
def test_binary(name, data, threshold):
    ours = metrics.metrics_for("binary", threshold, COSTS)[name]
    close(ours.function(*data), BINARY[name](*data, threshold))


TABLE = np.asarray([[0, 1, 9], [2, 0, 3], [5, 4, 0]])


def cheapest_by_hand(p):
    return np.einsum("nt,tg->ng", p, TABLE).argmin(axis=1)


MULTICLASS = {
    "log_loss": lambda y, p, w: theirs.log_loss(y, p, sample_weight=w),
    "accuracy": lambda y, p, w: theirs.accuracy_score(y, p.argmax(axis=1), sample_weight=w),
    "balanced_accuracy": lambda y, p, w: theirs.balanced_accuracy_score(y, p.argmax(axis=1), sample_weight=w),
    "f1_macro": lambda y, p, w: theirs.f1_score(y, p.argmax(axis=1), sample_weight=w, average="macro"),
    "roc_auc": lambda y, p, w: np.mean([theirs.roc_auc_score(y == k, p[:, k], sample_weight=w) for k in range(3)]),
    "cost": lambda y, p, w: np.average(TABLE[y, cheapest_by_hand(p)], weights=w),
}


@pytest.mark.parametrize("name", MULTICLASS)
@EACH
@given(three())
def test_multiclass(name, data):
    close(metrics.metrics_for("multiclass", costs=MATRIX)[name].function(*data), MULTICLASS[name](*data))


@QUICK
@given(three())
def test_the_cheapest_class_is_chosen(data):
    assert np.array_equal(metrics.cheapest(data[1], MATRIX), cheapest_by_hand(data[1]))


REGRESSION = {
    "rmse": theirs.root_mean_squared_error,
    "mae": theirs.mean_absolute_error,
    "r2": theirs.r2_score,
}


@pytest.mark.parametrize("name", REGRESSION)
@EACH
@given(numbers())
def test_regression(name, data):
    y, p, w = data
    close(metrics.metrics_for("regression")[name].function(y, p, w), REGRESSION[name](y, p, sample_weight=w))


@pytest.mark.parametrize("seed", range(5))
def test_the_calibration_error_is_the_one_of_its_definition(seed):
    """Scikit-learn has none. Ten bins of a hundred rows: the mean squared gap, less what chance adds to each."""
    rng = np.random.default_rng(seed)
    p = rng.permutation(np.linspace(0.05, 0.95, 1000))
    y = (rng.random(1000) < p**2).astype(int)
    bins = np.split((y - p)[np.argsort(p)], 10)
    expected = np.mean([rest.mean() ** 2 - rest.var(ddof=1) / 100 for rest in bins]) ** 0.5
    close(metrics.metrics_for("binary", 0.5)["calibration_error"].value(y, p), expected)
    of_classes = np.column_stack([1 - p / 2 - 0.5, p / 2 + 0.5])  # the second class is the one that is chosen
    half = np.split((y - p / 2 - 0.5)[np.argsort(p)], 10)
    expected = np.mean([rest.mean() ** 2 - rest.var(ddof=1) / 100 for rest in half]) ** 0.5
    close(metrics.metrics_for("multiclass")["calibration_error"].value(y, of_classes), expected)


def test_each_metric_is_compared_with_another_ones():
    for task, compared in (("binary", BINARY), ("multiclass", MULTICLASS), ("regression", REGRESSION)):
        costs = {"binary": COSTS, "multiclass": MATRIX}.get(task)
        assert metrics.metrics_for(task, 0.5, costs).keys() - {"calibration_error"} == compared.keys()


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
        _, size, gap, _ = calibration_error.gaps(*metric.reliability(y, p), w)
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
        squares.append(calibration_error.square((rng.random(1000) < p).astype(int), p, np.ones(1000)))
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
        found = uncertainty.interval(metric, y, p, 0.95)
        assert found["low"] <= found["value"] <= found["high"], metric.name
        if metric.unit:
            assert 0 <= found["low"] <= found["high"] <= 1
    perfect = np.where(y == 1, 0.9, 0.1) if task == "binary" else None
    if perfect is not None:
        found = uncertainty.interval(metrics.metrics_for("binary", 0.6)["accuracy"], y, perfect, 0.95)
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
