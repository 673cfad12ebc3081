"""Differences, verdicts, gates and slices."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import CONTRACT
from hypothesis import given, settings
from hypothesis import strategies as st
from mlcicd.core import params
from mlcicd.core.json_files import read_json, write_json
from mlcicd.data import sampling
from mlcicd.evaluation import metrics, slices, thresholds, uncertainty
from mlcicd.review import compare
from mlcicd.review.comparison_schema import Comparison
from mlcicd.training import run as runs
from scipy import special

COSTS = params.Costs(false_positive=10, false_negative=4)
GATES = {"roc_auc": {"margin": 0.005}, "cost": {"margin": 0.05}}
QUICK = settings(max_examples=25)


def logistic(z):
    return 1 / (1 + np.exp(-z))


def customers(n=4000, seed=0):
    """Log-odds and outcomes."""
    rng = np.random.default_rng(seed)
    z = 1.5 * rng.normal(size=n) + 1
    return z, (rng.random(n) < logistic(z)).astype(int)


def trained(z, noise, seed, jitter=0.02):
    """A model as wrong as ``noise`` says; its folds differ a little from it."""
    rng = np.random.default_rng(seed)
    own = z + noise * rng.normal(size=len(z))

    def model():
        return logistic(own + jitter * rng.normal(size=len(z)))

    return uncertainty.Side([model()], [model() for _ in range(5)])


def judged(y, old, new, at=(0.7, 0.7), **gates):
    chosen = params.Params(seed=1, task="binary", costs=COSTS, gates=gates or GATES)
    known = [metrics.metrics_for("binary", t, COSTS) for t in at]
    return compare.judge(y, (known[0], old), (known[1], new), chosen)


@QUICK
@given(st.integers(0, 10_000), st.floats(0, 1.5), st.floats(0, 1.5), st.sampled_from([0.5, 0.7]))
def test_swapping_the_sides_mirrors_everything(seed, noise, other, threshold):
    z, y = customers(500, seed)
    a, b = trained(z, noise, seed + 1), trained(z, other, seed + 2)
    there, back = judged(y, a, b, (0.7, threshold)), judged(y, b, a, (threshold, 0.7))
    mirror = {"better": "worse", "worse": "better"}
    for name, found in there.items():
        other_way = back[name]
        assert other_way["difference"] == pytest.approx(-found["difference"], abs=1e-12)
        assert (other_way["low"], other_way["high"]) == pytest.approx((-found["high"], -found["low"]), abs=1e-9)
        assert other_way["p"] == pytest.approx(found["p"], abs=1e-9)
        assert other_way["verdict"] == mirror.get(found["verdict"], found["verdict"])
        assert found["low"] <= found["high"]


@QUICK
@given(st.integers(0, 10_000))
def test_the_same_predictions_are_the_same(seed):
    z, y = customers(300, seed)
    side = trained(z, 0.5, seed)
    for found in judged(y, side, side).values():
        assert (found["difference"], found["low"], found["high"], found["verdict"]) == (0, 0, 0, "same")


@QUICK
@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(seed, random):
    z, y = customers(300, seed)
    a, b = trained(z, 0.2, seed), trained(z, 0.6, seed + 1)
    order = list(range(300))
    random.shuffle(order)
    turned = [uncertainty.Side([p[order] for p in s.seeds], [p[order] for p in s.folds]) for s in (a, b)]
    there, again = judged(y, a, b), judged(y[order], *turned)
    for name, found in there.items():
        assert (found["low"], found["high"]) == pytest.approx((again[name]["low"], again[name]["high"]), abs=1e-9)


def test_a_model_that_is_worse_is_called_worse_by_every_gated_metric():
    z, y = customers(6000)
    found = judged(y, trained(z, 0, 1), trained(z, 1.5, 2))
    assert {found[name]["verdict"] for name in GATES} == {"worse"}
    assert {found[name]["gate"] for name in GATES} == {"fail"}
    assert found["roc_auc"]["difference"] < 0 < found["cost"]["difference"]
    assert found["brier"]["verdict"] == "worse" and found["brier"]["gate"] is None


def test_a_model_that_is_miscalibrated_is_named():
    z, y = customers(6000)
    honest, loud = trained(z, 0, 1), trained(z, 0, 1)
    loud = uncertainty.Side(*([logistic(2 * np.log(p / (1 - p))) for p in side] for side in (loud.seeds, loud.folds)))
    found = judged(y, honest, loud, roc_auc={"margin": 0.005}, calibration_error={"margin": 0.02})
    assert found["roc_auc"]["verdict"] == "same"
    assert found["calibration_error"]["verdict"] == "worse"


@pytest.mark.parametrize(
    ("noise", "kind", "gate"),
    [
        ((0, 0), "not-worse", "pass"), ((0, 0), "non-inferior", "pass"), ((0, 0), "superior", "fail"),
        ((0, 1.5), "not-worse", "fail"), ((0, 1.5), "non-inferior", "fail"), ((0, 1.5), "superior", "fail"),
        ((1.5, 0), "not-worse", "pass"), ((1.5, 0), "non-inferior", "pass"), ((1.5, 0), "superior", "pass"),
    ],
)  # fmt: skip
def test_what_each_kind_of_gate_lets_pass(noise, kind, gate):
    z, y = customers(6000)
    found = judged(y, trained(z, noise[0], 1), trained(z, noise[1], 2), roc_auc={"margin": 0.01, "kind": kind})
    assert found["roc_auc"]["gate"] == gate


def test_what_cannot_be_told_passes_unless_proof_is_asked_for():
    z, y = customers(150)
    sides = trained(z, 0.5, 1), trained(z, 0.5, 2)
    kinds = {
        k: judged(y, *sides, roc_auc={"margin": 0.001, "kind": k})["roc_auc"] for k in ("not-worse", "non-inferior")
    }
    assert {r["verdict"] for r in kinds.values()} == {"unclear"}
    assert (kinds["not-worse"]["gate"], kinds["non-inferior"]["gate"]) == ("pass", "fail")


def test_noise_of_training_widens_the_interval():
    z, y = customers(3000)
    calm = trained(z, 0.3, 1, jitter=0.0), trained(z, 0.3, 2, jitter=0.0)
    rough = [uncertainty.Side(s.seeds, trained(z, 1.0, 3 + i, jitter=1.0).folds) for i, s in enumerate(calm)]
    widths = [f["roc_auc"]["high"] - f["roc_auc"]["low"] for f in (judged(y, *calm), judged(y, *rough))]
    assert widths[1] > 1.2 * widths[0]


def test_without_folds_seeds_are_counted_and_without_both_the_noise_is_said_to_be_unknown():
    z, y = customers(1000)
    auc = metrics.metrics_for("binary", 0.5)["roc_auc"]
    three = [uncertainty.Side([trained(z, 0.3, s + i, 0.3).seeds[0] for i in range(3)], []) for s in (0, 10)]
    one = [uncertainty.Side(side.seeds[:1], []) for side in three]
    counted, unknown = (uncertainty.difference(auc, auc, y, *pair, 0.95) for pair in (three, one))
    assert counted.training > 0 and np.isnan(unknown.training)
    assert judged(y, *one)["roc_auc"]["noise"]["training"] is None


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holms_correction(p):
    adjusted = uncertainty.holm(p)
    assert all(a >= b for a, b in zip(adjusted, p, strict=True))
    assert all(a <= min(1, b * len(p)) + 1e-12 for a, b in zip(adjusted, p, strict=True))
    order = np.argsort(p, kind="stable")
    assert list(np.asarray(adjusted)[order]) == sorted(adjusted)
    assert adjusted[order[0]] == pytest.approx(min(1, p[order[0]] * len(p)))


def test_holms_correction_of_a_known_example():
    assert uncertainty.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_more_rows_need_be_asked_for_the_smaller_the_difference_is():
    def noisy(difference):
        return uncertainty.Difference(0.8, 0.8 + difference, -1, 1, 0.5, rows=1e-5, training=1e-7, freedom=1000)

    needed = [uncertainty.rows_needed(noisy(d), 0.0, 0.05, 1000) for d in (0.005, 0.003, 0.002)]
    assert needed == sorted(needed) and needed[0] > 1000
    assert uncertainty.rows_needed(noisy(1e-5), 0.0, 0.05, 1000) is None  # training alone hides so little


def planted(n=6000):
    rng = np.random.default_rng(3)
    z, y = customers(n)
    frame = pd.DataFrame({
        "region": rng.choice(["north", "south", "east"], n), "spent": rng.gamma(2, 50, n),
        "since": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, n), unit="D"),
        "gap": np.where(rng.random(n) < 0.4, np.nan, rng.gamma(2, 5, n)), "constant": 1,
    })  # fmt: skip
    return z, y, frame


def found_slices(z, y, frame, hurt):
    old = trained(z, 0.1, 1)
    rng = np.random.default_rng(8)
    shift = np.where(hurt, 1.5 * rng.normal(size=len(z)), 0)
    base = trained(z, 0.1, 2)
    new = uncertainty.Side(
        *([logistic(np.log(p / (1 - p)) + shift) for p in side] for side in (base.seeds, base.folds))
    )
    known = metrics.metrics_for("binary", 0.7, COSTS)
    return slices.find(frame, y, (known, old), (known, new), 0.05)


@pytest.mark.parametrize(
    ("column", "slice_", "hurt"),
    [
        ("region", "south", lambda f: f["region"] == "south"),
        ("gap", "missing", lambda f: f["gap"].isna()),
        ("since", "2024-01-01", lambda f: f["since"] < "2024-03-15"),
    ],
)
def test_a_slice_that_got_worse_comes_first(column, slice_, hurt):
    z, y, frame = planted()
    found = found_slices(z, y, frame, hurt(frame))
    first = found["shown"][0]
    assert (first["column"], first["verdict"]) == (column, "worse")
    assert first["slice"].startswith(slice_) or column == "since"
    assert len(found["shown"]) <= slices.SHOWN


def test_a_slice_with_nearly_all_rows_is_none():
    z, y, frame = planted()
    frame = frame.assign(constant=np.where(np.arange(len(y)) < 20, "rare", "usual"))
    found = found_slices(z, y, frame, np.ones(len(y), dtype=bool))  # worse everywhere
    assert found["shown"] and "constant" not in {s["column"] for s in found["shown"]}


def test_no_slice_is_shown_when_nothing_changed():
    z, y, frame = planted()
    found = found_slices(z, y, frame, np.zeros(len(y), dtype=bool))
    assert found["judged"] > 20
    assert found["shown"] == []


# whole runs -----------------------------------------------------------------------------------------------------------


def a_run(folder: Path, p, y, *, threshold=0.7, folds=(), oof=None, ids=None, **changes) -> object:
    """A finished run on disk."""
    folder.mkdir()
    ids = np.asarray([f"c{i:05}" for i in range(len(y))]) if ids is None else ids

    def part(name, values, target=y, rows=ids):
        return pd.DataFrame({"row": rows, "part": name, "seed": 7, "target": target, "prediction": values})

    parts = [part("holdout", p), *(part(f"holdout-fold-{i}", q) for i, q in enumerate(folds, 1))]
    if oof is not None:
        parts.append(part("fold-1", oof[1], oof[0], np.asarray([f"t{i}" for i in range(len(oof[0]))])))
    pd.concat(parts).to_parquet(folder / "predictions.parquet")
    pd.DataFrame({"row": ids, "half": np.arange(len(y)) % 2}).to_parquet(folder / "holdout.parquet")
    (folder / "metrics.json").write_text(
        json.dumps({"task": "binary", "classes": [False, True], "threshold": threshold})
    )
    (folder / "manifest.json").write_text(json.dumps({"seeds": [7]}))
    (folder / "model.skops").touch()
    shutil.copyfile(CONTRACT, folder / "contract.yaml")
    choices = {"seed": 7, "task": "binary", "gates": GATES, "costs": {"false_positive": 10, "false_negative": 4}}
    (folder / "params.yaml").write_text(yaml.safe_dump(choices | changes))
    return runs.Run(folder)


def test_a_change_of_threshold_alone_is_named(tmp_path):
    z, y = customers(4000)
    p = logistic(z)
    found = compare.compare(a_run(tmp_path / "a", p, y), a_run(tmp_path / "b", p, y, threshold=0.2))
    assert "only the threshold moved from 0.700 to 0.200" in found["reason"]
    assert found["metrics"]["roc_auc"]["verdict"] == "same"
    assert (found["metrics"]["cost"]["verdict"], found["verdict"]) == ("worse", "worse")
    assert found["thresholds"] == {"baseline": 0.7, "candidate": 0.2}
    write_json(tmp_path / "comparison.json", found)
    written = json.loads((tmp_path / "comparison.json").read_text())
    assert read_json(tmp_path / "comparison.json", Comparison) == written | {"changes": None}


def test_with_other_costs_both_sides_decide_by_the_new_ones(tmp_path):
    z, y = customers(4000)
    p, dear = logistic(z), {"false_positive": 10, "false_negative": 100}
    oof = (y, p)
    old = a_run(tmp_path / "a", p, y, oof=oof, threshold=0.7)
    chosen = thresholds.best_threshold(y, p, params.Costs(**dear))
    new = a_run(tmp_path / "b", p, y, oof=oof, threshold=chosen, costs=dear)
    found = compare.compare(old, new)
    assert found["costs_changed"]
    assert found["thresholds"]["baseline"] == chosen  # the old model is not blamed for prices it did not know
    assert found["metrics"]["cost"]["verdict"] == "same"


def test_rows_that_only_one_side_has_are_left_out_and_counted(tmp_path):
    z, y = customers(1000)
    p, ids = logistic(z), np.asarray([f"c{i:05}" for i in range(1000)])
    flipped = np.where(np.arange(1000) < 20, 1 - y, y)
    old = a_run(tmp_path / "a", p[:950], y[:950], ids=ids[:950])
    new = a_run(tmp_path / "b", p[::-1], flipped[::-1], ids=ids[::-1])
    found = compare.compare(old, new)
    assert found["rows"] == {"compared": 930, "only_baseline": 0, "only_candidate": 50, "target_changed": 20}
    assert found["verdict"] == "same"  # paired by row, whatever the order


def test_held_out_rows_without_a_group_are_one_group(tmp_path):
    z, y = customers(1000)
    groups = np.where(np.arange(1000) % 10 < 3, None, (np.arange(1000) // 10).astype("str"))
    sides = [a_run(tmp_path / name, logistic(z + noise), y) for name, noise in (("a", 0.0), ("b", 0.5))]
    for run in sides:
        predictions = run.predictions.assign(group=np.resize(groups, len(run.predictions)))
        predictions.to_parquet(run.path / "predictions.parquet")
    with_gaps = compare.compare(*(runs.Run(side.path) for side in sides))
    for run in sides:
        named = run.predictions.assign(group=np.resize(np.where(groups == None, "none", groups), 1000))  # noqa: E711
        named.to_parquet(run.path / "predictions.parquet")
    filled = compare.compare(*(runs.Run(side.path) for side in sides))
    assert with_gaps["metrics"] == filled["metrics"]
    assert with_gaps["metrics"]["brier"]["noise"]["rows"] > 0


@pytest.mark.parametrize("named", [False, True])
def test_rows_without_an_id_are_paired_by_the_columns_that_both_have(tmp_path, named):
    z, y = customers(2000)
    frame = pd.DataFrame({"a": z.round(1), "b": np.arange(2000) % 3})  # many equal rows
    runs_ = [a_run(tmp_path / side, logistic(z.round(1)), y) for side in ("old", "new", "worse")]
    rng = np.random.default_rng(0)
    for number, run in enumerate(runs_):
        own = frame if number == 0 else frame.assign(c=1).rename(columns={"b": "renamed"})
        order = np.arange(2000) if number == 0 else rng.permutation(2000)[:1500]
        names = [f"{number}-{i}" for i in range(len(order))]
        p = logistic(z.round(1)) if number < 2 else logistic(-z.round(1))
        parts = [
            pd.DataFrame({"row": names, "part": part, "seed": 7, "target": y[order], "prediction": p[order]})
            for part in ("holdout", "holdout-fold-1", "holdout-fold-2")
        ]
        pd.concat(parts).to_parquet(run.path / "predictions.parquet")
        own.iloc[order].assign(row=names).to_parquet(run.path / "holdout.parquet")
        if not named:
            contract = yaml.safe_load((run.path / "contract.yaml").read_text())
            for prop in contract["schema"][-1]["properties"]:
                custom = prop.get("customProperties", [])
                prop["customProperties"] = [c for c in custom if c.get("value") != "id"]
            (run.path / "contract.yaml").write_text(yaml.safe_dump(contract))
    old, new, worse = (runs.Run(run.path) for run in runs_)
    found = compare.compare(old, new)
    if named:
        assert (found["verdict"], found["rows"]["compared"]) == ("not-comparable", 0)
        return
    assert found["verdict"] == "same"
    assert 1200 < found["rows"]["compared"] <= 1500  # by a and the target; each row once
    assert "paired by the columns that both have" in found["notes"][0]
    assert compare.compare(old, worse)["verdict"] == "worse"


def test_what_cannot_be_compared_says_why(tmp_path):
    z, y = customers(100)
    old, new = a_run(tmp_path / "a", logistic(z), y), a_run(tmp_path / "b", logistic(z), y)
    (new.path / "metrics.json").write_text(json.dumps({"task": "regression", "classes": [], "threshold": None}))
    found = compare.compare(old, runs.Run(new.path))
    assert (found["verdict"], found["passed"]) == ("not-comparable", False)
    assert "task changed from binary to regression" in found["reason"]
    apart = a_run(tmp_path / "c", logistic(z), y, ids=np.asarray([f"d{i}" for i in range(100)]))
    found = compare.compare(old, apart)
    assert not found["passed"] and "share 0 holdout rows" in found["reason"]
    lenient = a_run(
        *(tmp_path / "d", logistic(z), y),
        ids=np.asarray([f"d{i}" for i in range(100)]),
        review={"not_comparable": "pass"},
    )
    assert compare.compare(old, lenient)["passed"]


def test_an_unclear_review_says_how_many_rows_it_would_take(tmp_path):
    z, y = customers(200)
    sides = [trained(z, 0.6, seed, jitter=0.01) for seed in (1, 2)]
    old, new = (a_run(tmp_path / str(i), s.seeds[0], y, folds=s.folds) for i, s in enumerate(sides))
    found = compare.compare(old, new)
    assert found["verdict"] == "unclear" and found["passed"]
    unclear = [r for r in found["metrics"].values() if r["gate"] and r["verdict"] == "unclear"]
    assert all(r["rows_needed"] is None or r["rows_needed"] >= 200 for r in unclear)
    assert "rows" in found["reason"]
    json.dumps(found, allow_nan=False)


def test_rows_that_come_in_groups_count_as_groups():
    z, y = customers(500)
    a, b = trained(z, 0.2, 1), trained(z, 0.6, 2)
    twice = [uncertainty.Side([np.tile(p, 4) for p in s.seeds], [np.tile(p, 4) for p in s.folds]) for s in (a, b)]
    for name, metric in metrics.metrics_for("binary", 0.7, COSTS).items():
        if metric.reliability:
            continue
        once = uncertainty.difference(metric, metric, y, a, b, 0.95)
        copied = uncertainty.difference(
            metric, metric, np.tile(y, 4), *twice, 0.95, sampling.Sample(np.tile(np.arange(500), 4))
        )
        assert copied.rows == pytest.approx(once.rows, rel=1e-6), name  # a copy of a customer is no new customer


def test_seeds_and_folds_that_agree_are_pooled_and_more_seeds_narrow_the_interval():
    few, many = [0.80, 0.81], [0.80, 0.81, 0.80, 0.81, 0.80, 0.81]
    folds = [0.79, 0.80, 0.81, 0.80, 0.79], [0.80, 0.79, 0.80, 0.81, 0.80]

    def noise(old, new):
        seen = np.concatenate([old, new, *folds])
        return uncertainty._training(seen, np.zeros((len(seen), len(seen))), len(old), len(old) + len(new), 5, 5)

    assert noise(many, many)[0] < noise(few, few)[0] / 2
    scatter = pytest.approx(np.var(np.subtract(folds[1], folds[0]), ddof=1))
    assert noise([0.8], [0.8]) == (scatter, scatter, 4)
    # A learner that does not heed its seed: averaging takes nothing of the folds' scatter away.
    assert noise([0.8] * 6, [0.81] * 6) == (scatter, scatter, 4)


def test_rows_are_not_counted_again_as_noise_of_training():
    """Models that are alike but for noise of their own in each row: over all rows there ever were, they are equal."""
    z, y = customers(4000)
    brier, found = metrics.metrics_for("binary", 0.5)["brier"], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        models = [logistic(z + 0.5 * rng.normal(size=len(z))) for _ in range(12)]
        old, new = uncertainty.Side(models[:1], models[1:6]), uncertainty.Side(models[6:7], models[7:])
        found.append(uncertainty.difference(brier, brier, y, old, new, 0.95))
    rows, training = (np.mean([getattr(f, part) for f in found]) for part in ("rows", "training"))
    assert training < 0.5 * rows  # counted twice they would be equal
    missed = np.mean([not f.low <= 0 <= f.high for f in found])
    assert missed <= 0.15


def test_the_noise_of_choosing_a_threshold_is_counted_where_a_metric_hangs_on_it():
    z, y = customers(3000)
    a, b = trained(z, 0.3, 1), trained(z, 0.3, 2)
    chosen = params.Params(seed=1, task="binary", costs=COSTS, gates=GATES)
    known = [metrics.metrics_for("binary", t, COSTS) for t in (0.7, 0.66)]
    drawn = [
        [metrics.metrics_for("binary", t, COSTS) for t in pair] for pair in ((0.65, 0.72), (0.75, 0.62), (0.7, 0.7))
    ]
    calm, moved = (
        compare.judge(y, (known[0], a), (known[1], b), chosen, sampling.ROWS, again) for again in ((), drawn)
    )
    for name in moved:
        wider = moved[name]["high"] - moved[name]["low"] > calm[name]["high"] - calm[name]["low"]
        assert wider == (name in metrics.THRESHOLD_DEPENDENT), name


def test_two_runs_draw_the_same_samples_of_their_training_rows():
    z, y = customers(2000)
    rows, p = pd.Series([f"c{i}" for i in range(2000)]), logistic(z)
    order = np.random.default_rng(0).permutation(2000)
    first = thresholds.draw_thresholds(rows, y, p, COSTS)
    again = thresholds.draw_thresholds(rows.iloc[order], y[order], p[order], COSTS)
    assert first == pytest.approx(again, abs=1e-6)
    assert len(set(first)) == thresholds.DRAWS  # and they are different samples
    assert 0.6 < np.mean(first) < 0.8  # 10 / 14, since the probabilities are true


# what was drawn -------------------------------------------------------------------------------------------------------

METRICS = [(task, name) for task in ("binary", "multiclass", "regression") for name in metrics.metrics_for(task, 0.6)]


def rows_of(task, n, rng):
    """Targets and two models' predictions."""
    if task == "regression":
        z = rng.normal(size=n)
        return z + rng.normal(size=n), (z, z + 0.3 * rng.normal(size=n))
    if task == "binary":
        z = rng.normal(size=n)
        return (rng.random(n) < logistic(z)).astype(int), (logistic(z), logistic(z + 0.5 * rng.normal(size=n)))
    raw = rng.normal(size=(n, 3))
    noisy = raw + 0.5 * rng.normal(size=(n, 3))
    p = [np.exp(r) / np.exp(r).sum(axis=1, keepdims=True) for r in (raw, noisy)]
    return np.asarray([rng.choice(3, p=row) for row in p[0]]), p


def drawn_together(kind, n, copies):
    """Groups, or days, of alike rows."""
    codes = np.repeat(np.arange(n), copies)
    if kind == "group":
        return sampling.sample(pd.DataFrame({"group": [f"g{code}" for code in codes]}))
    day = pd.Timestamp("2024-01-01") + pd.to_timedelta(codes, unit="D")
    hours = pd.to_timedelta(np.tile(np.arange(copies), n) % 24, unit="h")
    return sampling.sample(pd.DataFrame({"time": day + hours}))


@pytest.mark.parametrize("kind", ["group", "time"])
@pytest.mark.parametrize(("task", "name"), METRICS)
@settings(max_examples=3)
@given(seed=st.integers(0, 10_000), copies=st.integers(3, 6))
def test_copies_of_what_was_drawn_make_no_interval_narrower(kind, task, name, seed, copies):
    """Each metric, alone and as a difference: copies of a row that are known as such count as that one row."""
    metric, n = metrics.metrics_for(task, 0.6)[name], 120
    y, p = rows_of(task, n, np.random.default_rng(seed))
    drawn = drawn_together(kind, n, copies)
    many, several = np.repeat(y, copies), [np.repeat(q, copies, axis=0) for q in p]
    once, again = (
        uncertainty.interval(metric, y, p[1], 0.95),
        uncertainty.interval(metric, many, several[1], 0.95, drawn),
    )
    low = 0.0 if metric.reliability else again["low"] - once["low"]  # what copies add to a calibration error goes
    # Counted as rows, three copies make it 0.58 times as wide; with few rows the kind of interval may change as well.
    assert again["high"] - once["low"] - low >= 0.7 * (once["high"] - once["low"])
    sides = [uncertainty.Side([q], []) for q in p]
    copied = [uncertainty.Side([q], []) for q in several]
    there = uncertainty.difference(metric, metric, y, *sides, 0.95)
    back = uncertainty.difference(metric, metric, many, *copied, 0.95, drawn)
    assert back.high - back.low >= 0.7 * (there.high - there.low)


def test_alike_rows_of_groups_keep_what_an_interval_promises():
    """200 groups of 25 rows, as alike as they can be: counted as 5,000 rows, two in three intervals were wrong."""
    brier, held = metrics.metrics_for("binary", 0.5)["brier"], []
    z, y = customers(400_000, 9999)
    truth = np.mean((logistic(z) - y) ** 2)
    for seed in range(200):
        z, y = customers(200, seed)
        y, p, group = np.repeat(y, 25), np.repeat(logistic(z), 25), np.repeat(np.arange(200), 25)
        found = uncertainty.interval(brier, y, p, 0.95, sampling.Sample(group))
        held.append(found["low"] <= truth <= found["high"])
    assert 0.91 <= np.mean(held) <= 0.99


@pytest.mark.parametrize("alike", [0.0, 0.5])
def test_days_that_resemble_the_day_before_make_stretches_of_days(alike):
    mae, held = metrics.metrics_for("regression")["mae"], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        size = rng.normal(size=120)
        for day in range(1, 120):
            size[day] = alike * size[day - 1] + (1 - alike**2) ** 0.5 * size[day]
        y = np.exp(0.3 * np.repeat(size, 20)) * rng.normal(size=2400)
        found = uncertainty.interval(
            mae, y, np.zeros(2400), 0.95, sampling.Sample(moment=np.repeat(np.arange(120), 20))
        )
        held.append(found["low"] <= np.exp(0.045) * (2 / np.pi) ** 0.5 <= found["high"])
    assert 0.88 <= np.mean(held) <= 0.99


def test_what_days_add_of_their_own_makes_what_they_share_die_no_faster():
    """Two series alike to their first lag: one forgets at once, one slowly, under noise of each day."""
    slow, fast = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        shared, moves = rng.normal(size=400), rng.normal(size=401)
        for day in range(1, 400):
            shared[day] = 0.8 * shared[day - 1] + 0.6 * shared[day]
        slow.append(sampling.stretches(shared + rng.normal(size=400)))  # autocorrelations 0.4, 0.32, 0.26, …
        fast.append(sampling.stretches(moves[1:] + 0.5 * moves[:-1]))  # 0.4, 0, 0, …
    assert np.mean(slow) < 0.6 * np.mean(fast)


@pytest.mark.parametrize(("name", "best"), [("rmse", 0), ("mae", 0), ("r2", 1)])
def test_distances_from_the_best_are_logarithmic_where_groups_were_drawn(name, best):
    rng, metric = np.random.default_rng(3), metrics.metrics_for("regression")[name]
    y, group = rng.normal(size=2000), np.repeat(np.arange(200), 10)
    p = y + rng.normal(size=200)[group] * 0.5
    found = uncertainty.interval(metric, y, p, 0.95, sampling.Sample(group))
    away = {side: abs(found[side] - best) for side in ("low", "value", "high")}
    assert away["low"] * away["high"] == pytest.approx(away["value"] ** 2)
    alone = uncertainty.interval(metric, y, p, 0.95)  # as ever
    assert alone["high"] - alone["value"] == pytest.approx(alone["value"] - alone["low"])


@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_calibration_errors_of_groups_hold_the_truth(shift):
    """Counted by one design effect for all bins, 100 % when calibrated, and 83 % when not."""
    metric, held = metrics.metrics_for("binary", 0.5)["calibration_error"], []

    def draw(groups, size, rng):
        shared, own = np.repeat(rng.normal(size=(2, groups)), size, axis=1), rng.normal(size=(2, groups * size))
        z, luck = (shared + own) / 2**0.5
        y = (luck < special.ndtri(logistic(2 * z))).astype(int)
        return y, logistic(2 * z * (1.3 if shift else 1) + shift)

    truth = metric.value(*draw(400_000, 1, np.random.default_rng(5))) if shift else 0.0
    for seed in range(200):
        y, p = draw(100, 20, np.random.default_rng(seed))
        found = uncertainty.interval(metric, y, p, 0.95, sampling.Sample(np.repeat(np.arange(100), 20)))
        assert found["low"] <= found["value"] <= found["high"]
        held.append(found["low"] <= truth <= found["high"])
    assert 0.91 <= np.mean(held) <= 0.985


@pytest.mark.parametrize("inverse", [False, True])
def test_calibration_errors_of_few_positives_are_neither_sure_nor_for_ever_unsure(inverse):
    metric, held = metrics.metrics_for("binary", 0.5)["calibration_error"], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        p = logistic(2 * rng.normal(size=6000) - 6.5)
        y = (rng.random(6000) < p).astype(int)
        held.append(uncertainty.interval(metric, *((1 - y, 1 - p) if inverse else (y, p)), 0.95)["low"] == 0)
    assert 0.91 <= np.mean(held) <= 0.985


def few_large(rng):
    """200 groups, most small and few large, and what rows of a group share."""
    sizes = np.minimum(rng.pareto(1.5, 200) * 10 + 2, 400).astype(int)
    codes = np.repeat(np.arange(200), sizes)
    return codes, rng.normal(size=200)[codes] / 3 + rng.normal(size=len(codes))


def test_few_large_groups_leave_as_much_to_tell_as_their_sums_say():
    """Sizes alone left 6 degrees of freedom, and a 95 % interval held the truth too often."""
    freedom, held = [], []
    for seed in range(300):
        codes, x = few_large(np.random.default_rng(seed))
        variance, free = sampling.Sample(codes).covariance(x[None] - x.mean())
        freedom.append(free)
        held.append(abs(x.mean()) <= variance[0, 0] ** 0.5 * special.stdtrit(free, 0.975))
    assert 7.5 <= np.median(freedom) <= 40
    assert 0.93 <= np.mean(held) <= 0.98


def test_degrees_of_freedom_are_those_of_all_groups_at_most_and_of_one_that_says_all():
    rng, codes = np.random.default_rng(0), np.repeat(np.arange(50), 20)
    x = rng.normal(size=50)[codes]
    assert 20 < sampling.Sample(codes).covariance(x[None] - x.mean())[1] <= 49
    alone = np.where(codes == 0, 1.0, 1e-3 * rng.normal(size=1000))
    assert sampling.Sample(codes).covariance(alone[None])[1] < 6


@pytest.mark.parametrize(("days", "follows"), [(30, 0.5), (30, 0.8), (91, 0.7), (120, 0.5)])
def test_what_stretches_share_with_their_neighbours_is_added(days, follows):
    """Of 30 days with an autocorrelation of 0.8, four intervals in five held the truth."""
    held = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=days)
        for day in range(1, days):
            x[day] = follows * x[day - 1] + (1 - follows**2) ** 0.5 * x[day]
        variance, free = sampling.Sample(moment=np.arange(days)).covariance(x[None] - x.mean())
        held.append(abs(x.mean()) <= variance[0, 0] ** 0.5 * special.stdtrit(free, 0.975))
    assert 0.88 <= np.mean(held) <= 0.98


def test_stretches_show_all_of_what_days_of_their_own_add():
    x = np.random.default_rng(0).normal(size=400)
    assert sampling.shown(x, 20) == pytest.approx(1, abs=0.05)
    slow = np.cumsum(x)
    assert sampling.shown(slow, 6) < 0.8 and sampling.shown(slow, 6) < sampling.shown(slow, 2) < 1


def test_models_that_many_groups_tell_apart_need_no_more_trials():
    """Two models differ in each of 25 groups; as if few rows told them apart, intervals were many times as wide."""
    auc, found = metrics.metrics_for("binary", 0.5)["roc_auc"], []
    for seed in range(60):
        rng, group = np.random.default_rng(seed), np.repeat(np.arange(25), 80)
        z, y = customers(2000, seed)
        sides = [uncertainty.Side([logistic(z + 0.3 * rng.normal(size=2000))], []) for _ in range(2)]
        one = uncertainty.difference(auc, auc, y, *sides, 0.95, sampling.Sample(group))
        found.append((one.candidate - one.baseline, one.high - one.low))
    moved, width = np.asarray(found).T
    assert 0.7 < np.median(width) / (4 * np.std(moved)) < 1.5


def unequal(groups, shifts, seed, size=20):
    """Outcomes of groups of alike rows, and two models whose log odds are shifted."""
    rng = np.random.default_rng(seed)
    shared, own = np.repeat(rng.normal(size=(4, groups)), size, axis=1), rng.normal(size=(4, groups * size))
    z, luck, *noise = (shared + own) / 2**0.5
    y = (luck < special.ndtri(logistic(2 * z))).astype(int)
    return y, [logistic(2 * z + 0.3 * each + shift) for each, shift in zip(noise, shifts, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("shifts", [(0.0, 0.0), (0.0, 0.4), (0.4, 0.4), (0.0, 0.8)])
def test_differences_of_calibration_errors_of_groups_hold_the_truth(shifts):
    metric, held, called = metrics.metrics_for("binary", 0.5)["calibration_error"], [], []
    y, models = unequal(400_000, shifts, 5, size=1)
    truth = metric.value(y, models[1]) - metric.value(y, models[0])
    for seed in range(150):
        y, models = unequal(100, shifts, seed)
        sides = [uncertainty.Side([p], []) for p in models]
        found = uncertainty.difference(metric, metric, y, *sides, 0.95, sampling.Sample(np.repeat(np.arange(100), 20)))
        assert found.low <= found.candidate - found.baseline <= found.high
        held.append(found.low <= truth <= found.high)
        called.append((found.p < 0.05) == (not found.low <= 0 <= found.high))
    assert np.mean(held) >= 0.88
    assert np.mean(called) > 0.98  # the p-value and the interval say the same


@pytest.mark.slow
def test_a_calibrated_model_shows_no_calibration_error_of_groups_on_average():
    """Chance was taken off by rows, and a perfect model showed an error of 0.03 in 40 groups."""
    metric = metrics.metrics_for("binary", 0.5)["calibration_error"]
    sample = sampling.Sample(np.repeat(np.arange(40), 50))
    shown, both = [], []
    for seed in range(100):
        y, models = unequal(40, (0, 0), seed, size=50)
        shown.append(uncertainty.interval(metric, y, models[0], 0.95, sample)["value"])
        found = uncertainty.difference(metric, metric, y, *(uncertainty.Side([p], []) for p in models), 0.95, sample)
        both.append(found.baseline)
    assert np.median(shown) < 0.02
    assert both == pytest.approx(shown)  # one number in a run and in a review of it


def test_swapped_sides_mirror_the_difference_of_calibration_errors_of_groups():
    metric = metrics.metrics_for("binary", 0.5)["calibration_error"]
    sample = sampling.Sample(np.repeat(np.arange(60), 20))
    y, models = unequal(60, (0, 0.3), 1)
    old, new = (uncertainty.Side([p], []) for p in models)
    there, back = (
        uncertainty.difference(metric, metric, y, *sides, 0.95, sample) for sides in ((old, new), (new, old))
    )
    assert (there.low, there.high, there.p) == pytest.approx((-back.high, -back.low, back.p), abs=1e-6)


def test_a_threshold_is_surely_cheaper_by_groups_not_by_their_rows():
    """Copies of a row that are known as such count as that one row; counted by rows, the lowest point was taken."""
    z, y = customers(300, 2)
    p, group = logistic(z), np.repeat(np.arange(300), 25)
    once, many = thresholds.best_threshold(y, p, COSTS), (np.repeat(y, 25), np.repeat(p, 25), COSTS)
    assert thresholds.best_threshold(*many) != pytest.approx(once, abs=1e-3)
    assert thresholds.best_threshold(*many, sampling.Sample(group)) == pytest.approx(once, abs=1e-3)
    rows = pd.Series(group.astype(str))
    again = thresholds.draw_thresholds(rows, *many, sampling.Sample(group))
    assert np.std(again) < np.std(thresholds.draw_thresholds(rows, *many))


def test_a_baseline_under_other_costs_chooses_its_threshold_by_groups_too():
    z, y = customers(300, 2)
    p, group = logistic(z), np.repeat(np.arange(300), 25)
    folds = {"target": np.repeat(y, 25), "prediction": np.repeat(p, 25), "group": group, "row": np.arange(7500)}
    run = SimpleNamespace(
        predictions=pd.DataFrame({"part": "fold-1", **folds}),
        target=lambda rows: rows["target"].to_numpy(),
        scores=lambda rows: rows["prediction"].to_numpy(),
    )
    chosen, _ = compare._thresholds(run, COSTS)
    assert chosen == pytest.approx(thresholds.best_threshold(y, p, COSTS), abs=1e-3)


def test_a_metric_of_the_users_leaves_out_what_was_drawn():
    from mlcicd.evaluation import user_metrics as custom

    z, y = customers(200)
    y, p, group = np.repeat(y, 25), np.repeat(logistic(z), 25), np.repeat(np.arange(200), 25)
    own = metrics._from("own_score", lambda y, p: float(np.mean((p >= 0.5) == (y == 1))))
    known = metrics.metrics_for("binary", 0.5)["accuracy"]
    for sample in (sampling.Sample(group), sampling.Sample(moment=group), sampling.Sample(group, group[::-1].copy())):
        ours, exact = (uncertainty._covariance([m], y, [p], sample, np.ones(1))[0][0, 0] for m in (own, known))
        assert ours == pytest.approx(exact, rel=0.5)
        assert ours > 10 * np.var(custom.jackknife(own.value, y, p)) / len(y)


def test_one_group_alone_and_no_groups_count_rows():
    z, y = customers(300)
    brier = metrics.metrics_for("binary", 0.5)["brier"]
    plain = uncertainty.interval(brier, y, logistic(z), 0.95)
    for sample in (sampling.Sample(np.zeros(300, dtype=int)), sampling.sample(pd.DataFrame({"row": np.arange(300)}))):
        assert uncertainty.interval(brier, y, logistic(z), 0.95, sample) == plain


def test_alike_rows_are_no_reason_to_show_a_slice():
    """Nothing changed but the noise of each group; counted by rows, slices of few groups look sure."""
    shown = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        z, y = customers(100, seed)
        group = np.repeat(np.arange(100), 40)
        frame = pd.DataFrame({"region": rng.choice(["a", "b", "c", "d"], 100)[group]})
        old, new = (logistic(z + 0.5 * rng.normal(size=100))[group] for _ in range(2))
        of = metrics.metrics_for("binary", 0.7, COSTS)
        sides = (of, uncertainty.Side([old], [])), (of, uncertainty.Side([new], []))
        shown.append([
            len(slices.find(frame, y[group], *sides, 0.05, known)["shown"])
            for known in (sampling.ROWS, sampling.Sample(group))
        ])  # fmt: skip
    by_rows, by_groups = np.sum(shown, axis=0)
    assert by_rows > 10 and by_groups <= 2


def test_groups_and_time_of_runs_are_heeded_and_runs_without_them_are_read(tmp_path):
    z, y = customers(400)
    sides = [trained(z, 0.4, seed) for seed in (1, 2)]
    runs_ = [a_run(tmp_path / str(i), s.seeds[0], y, folds=s.folds) for i, s in enumerate(sides)]
    plain = compare.compare(*runs_)["metrics"]["brier"]["noise"]["rows"]
    for column, values in {"group": np.arange(400) // 40, "time": np.arange(400) // 40}.items():
        for number, run in enumerate(runs_):
            frame = pd.read_parquet(run.path / "predictions.parquet")
            place = frame["row"].str[1:].astype(int).to_numpy()
            frame[column] = values[place]
            folder = tmp_path / f"{column}-{number}"
            shutil.copytree(run.path, folder)
            frame.to_parquet(folder / "predictions.parquet")
        known = compare.compare(*(runs.Run(tmp_path / f"{column}-{number}") for number in range(2)))
        assert known["metrics"]["brier"]["noise"]["rows"] != plain
        assert compare.compare(runs_[0], runs.Run(tmp_path / f"{column}-1"))["verdict"]  # an older run beside a new one


def test_a_gap_that_goes_with_a_few_groups_tells_nothing():
    from mlcicd.training import data_diagnostics

    told = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        group = np.repeat(np.arange(30), 50)
        gone, y = rng.random(30)[group] < 0.4, (rng.random(30)[group] < 0.5).astype(int)
        inputs = pd.DataFrame({"x": np.where(gone, np.nan, 1.0)})
        for task, target in (("binary", y), ("regression", y + 0.01 * rng.normal(size=1500))):
            told.append([
                data_diagnostics.missingness(inputs, target, task, *sample)["x"]["p"] < 0.01
                for sample in ([], [sampling.Sample(group)])
            ])  # fmt: skip
    by_rows, by_groups = np.mean(told, axis=0)
    assert by_rows > 0.5 and by_groups <= 0.1


# few rows -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("positives", [3, 10, 30])
def test_metrics_of_few_positives_are_as_unsure_as_so_few_positives_are(positives):
    """All found, none called in vain: 5,000 rows printed 0.999 to 1.000 whatever the number of positives."""
    y = (np.arange(5000) < positives).astype(int)
    p = np.where(y == 1, 0.9, 0.001)
    known = metrics.metrics_for("binary", 0.5)
    for name in ("recall", "precision", "f1", "roc_auc", "average_precision"):
        found = uncertainty.interval(known[name], y, p, 0.95)
        share = 0.025 ** (1 / positives)
        low = 2 * share / (1 + share) if name == "f1" else share
        assert found["high"] == 1 and found["low"] == pytest.approx(low), name
    assert uncertainty.interval(known["accuracy"], y, p, 0.95)["low"] > 0.999  # of which there are 5,000 trials
    grouped = uncertainty.interval(known["recall"], y, p, 0.95, sampling.Sample(np.arange(5000) // 3))
    assert grouped["low"] < uncertainty.interval(known["recall"], y, p, 0.95)["low"]


@pytest.mark.parametrize("positives", [3, 10, 30])
def test_intervals_of_few_positives_hold_the_truth(positives):
    rng, n = np.random.default_rng(positives), 1500
    rate, pool = positives / n, 400_000
    y = (rng.random(pool) < rate).astype(int)
    z = rng.normal(size=pool) + 2.5 * y
    p = logistic(np.log(rate / (1 - rate)) + 2.5 * z - 2.5**2 / 2)
    known = metrics.metrics_for(
        "binary", float(np.quantile(p[y == 1], 0.2)), params.Costs(false_positive=1, false_negative=40)
    )
    known.pop("calibration_error")  # the population's own is not zero, and differs by how it is cut into bins
    yes, no, held = np.flatnonzero(y == 1), np.flatnonzero(y == 0), dict.fromkeys(known, 0)
    truth = {name: metric.value(y, p) for name, metric in known.items()}
    for _ in range(150):
        rows = np.r_[rng.choice(yes, positives), rng.choice(no, n - positives)]
        for name, metric in known.items():
            found = uncertainty.interval(metric, y[rows], p[rows], 0.95)
            held[name] += found["low"] <= truth[name] <= found["high"]
    assert {name: share for name, share in held.items() if share < 0.88 * 150} == {}  # 92 % and the chance of 150


def test_classes_of_few_rows_make_multiclass_metrics_unsure():
    y = np.r_[np.zeros(3000), np.ones(2000), np.full(3, 2)].astype(int)
    p = np.eye(3)[y] * 0.97 + 0.01
    known = metrics.metrics_for("multiclass")
    for name in ("balanced_accuracy", "f1_macro", "roc_auc"):
        found = uncertainty.interval(known[name], y, p, 0.95)
        assert found["high"] == 1 and found["low"] < 0.85, name


def test_two_models_that_find_the_same_three_positives_are_not_surely_the_same():
    y = (np.arange(5000) < 3).astype(int)
    rng = np.random.default_rng(1)
    a, b = (np.where(y == 1, 0.9, 0.1) + 0.05 * rng.random(5000) for _ in range(2))
    recall = metrics.metrics_for("binary", 0.5)["recall"]
    found = uncertainty.difference(recall, recall, y, uncertainty.Side([a], []), uncertainty.Side([b], []), 0.95)
    assert found.high - found.low > 0.5
    known = uncertainty.difference(recall, recall, y, uncertainty.Side([a], []), uncertainty.Side([a], []), 0.95)
    assert (known.low, known.high) == (0, 0)
