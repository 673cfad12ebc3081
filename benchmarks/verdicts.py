"""Is the review's verdict right? Prints the tables of docs/verdicts.md.

Run it in a baked and installed churn project, with that project's Python::

    cd PROJECT && nice .venv/bin/python TEMPLATE/benchmarks/verdicts.py PART

``methods``   how often each way of inference is wrong when nothing changed, and what it costs
``null``      pull requests that change nothing of substance, on two generated worlds
``churn``     the same on the churn data
``power``     pull requests that lose a known ROC AUC; also draws docs/pictures/power.png
``coverage``  how often a 95 % interval of a difference holds the true difference, by metric
``drawn``     the same, and of one model alone, where groups, days or few positives are what was drawn
``speed``     the comparison of two runs with 100,000 holdout rows

Few models are trained and used often. In a generated world the truth is known: a pool of models, trained on training
sets of their own, predicts one large population once, and each simulated pull request draws a pair of models and a
fresh holdout from that population. The true difference of two ways of training is their mean over the pool.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import os
import pickle
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # other work shares the cores

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from mlcicd.core import params, project
from mlcicd.data import sampling
from mlcicd.evaluation import calibration_error, metrics, thresholds, uncertainty
from mlcicd.review import compare
from scipy import stats
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

PACKAGE = project.package_name()

HOLDOUT = 6000
SETS = 40  # training sets a world
COSTS = params.Costs(false_positive=10, false_negative=4)
NULL = ("seed", "columns", "rows", "refactor")
COMPARED = ("seed", "refactor", "weaker")
POOLS = Path(tempfile.gettempdir())
PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "power.png"
SEED = 0  # of everything drawn here; another one draws other training sets, populations and holdouts


@dataclass(frozen=True)
class World:
    """A population with a known truth, and a way to learn it."""

    name: str
    task: str
    draw: Callable[[int, np.random.Generator], tuple[np.ndarray, np.ndarray]]
    learner: object
    train: int
    population: int
    sets: int


@dataclass(frozen=True)
class Trained:
    """What a training left: predictions of the population, by seed and by fold; a threshold; differences by fold."""

    side: uncertainty.Side
    threshold: float | None
    draws: list[float]
    folds: list[float]


def random(number: int) -> np.random.Generator:
    """The generator of this number under the seed asked for; without one, the plain one of the number."""
    return np.random.default_rng([number, SEED] if SEED else number)


def _features(n: int, rng: np.random.Generator) -> np.ndarray:
    x = rng.normal(size=(n, 8))
    x[:, 3] = np.exp(x[:, 3])
    x[:, 4] = rng.integers(0, 5, n)
    x[:, 7] = 0.7 * x[:, 0] + 0.7 * x[:, 7]
    return x


def _signal(x: np.ndarray) -> np.ndarray:
    return 0.9 * x[:, 0] + 0.6 * x[:, 1] * (x[:, 2] > 0) + 0.3 * np.log(x[:, 3]) + 0.35 * (x[:, 4] == 2) - 0.4 * x[:, 5]


def draw_rare(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One in six is negative, as in the churn data."""
    x = _features(n, rng)
    return x, (rng.random(n) < 1 / (1 + np.exp(-_signal(x) - 2.0))).astype(int)


def draw_even(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Both classes alike, and sharp corners that suit a forest."""
    x = _features(n, rng)
    cornered = 1.2 * ((x[:, 0] > 0.5) & (x[:, 1] < 0)) + 0.8 * (x[:, 3] > 1.5) - 0.9 * (x[:, 5] > 0) + 0.4 * x[:, 7]
    return x, (rng.random(n) < 1 / (1 + np.exp(-cornered))).astype(int)


def draw_three(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    x = _features(n, rng)
    scores = np.column_stack([_signal(x), 0.8 * x[:, 1] + 0.5 * x[:, 5], 0.2 + 0.5 * x[:, 7]])
    return x, np.argmax(scores + rng.gumbel(size=scores.shape), axis=1)


def draw_number(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    x = _features(n, rng)
    return x, 10 + 3 * _signal(x) + rng.standard_t(5, n) * (1 + 0.5 * (x[:, 5] > 0))


FEW = {"learning_rate": 0.15, "max_leaf_nodes": 8, "max_features": 0.5}  # random, so that a seed matters
BOOSTED = HistGradientBoostingClassifier(max_iter=40, **FEW)
FOREST = RandomForestClassifier(20, min_samples_leaf=10, max_features=0.5)
SHORT = HistGradientBoostingClassifier(max_iter=20, **FEW)
NUMBER = HistGradientBoostingRegressor(max_iter=40, **FEW)
WORLDS = {
    world.name: world
    for world in (
        World("boosted trees, 15 % negatives", "binary", draw_rare, BOOSTED, 4000, 20_000, SETS),
        World("random forest, 50 % negatives", "binary", draw_even, FOREST, 2000, 20_000, SETS),
        World("three classes", "multiclass", draw_three, SHORT, 4000, 20_000, SETS),
        World("a number", "regression", draw_number, NUMBER, 4000, 20_000, SETS),
    )
}
BINARY = list(WORLDS)[:2]


def reordered(x: np.ndarray) -> np.ndarray:
    return x[:, [5, 2, 7, 0, 3, 6, 1, 4]]


def refactored(x: np.ndarray) -> np.ndarray:
    """The same information, written otherwise."""
    return np.column_stack(
        [
            np.exp(x[:, 0]),
            x[:, 1] * 3 + 1,
            -x[:, 2],
            np.log(x[:, 3]),
            x[:, 4],
            x[:, 5] ** 3,
            x[:, 6:],
            x[:, 0] + x[:, 7],
        ]
    )


def weaker(x: np.ndarray) -> np.ndarray:
    """One column short."""
    return np.delete(x, 5, axis=1)


VIEWS = {"columns": reordered, "refactor": refactored, "weaker": weaker}


def predict(model, x: np.ndarray, task: str) -> np.ndarray:
    if task == "regression":
        return model.predict(x)
    found = model.predict_proba(x)
    return found[:, 1] if task == "binary" else found


def train(
    world: World, kind: str, x: np.ndarray, y: np.ndarray, population: np.ndarray, seed: int, seeds: int, repeats: int
) -> Trained:
    """Train as ``ml train`` does; ``repeats`` of the cross-validation for the methods that need them."""
    rng, names = np.random.default_rng(seed), np.arange(len(y))
    if kind == "rows":
        rng.shuffle(names)
        x, y = x[names], y[names]
    pipeline = make_pipeline(FunctionTransformer(VIEWS.get(kind)), world.learner)

    def fit(rows: np.ndarray, number: int):
        return clone(pipeline).set_params(**{f"{pipeline.steps[-1][0]}__random_state": number}).fit(x[rows], y[rows])

    whole, oof = np.arange(len(y)), np.zeros(len(y))
    by_seed = [predict(fit(whole, seed + i), population, world.task).astype("float32") for i in range(seeds)]
    by_fold, scores = [], []
    for repeat in range(repeats):
        cut = KFold if world.task == "regression" else StratifiedKFold
        for number, (fitted, judged) in enumerate(cut(5, shuffle=True, random_state=repeat).split(x, y), start=1):
            model = fit(fitted, seed + 5 * repeat + number)
            p = predict(model, x[judged], world.task)
            if world.task == "binary":
                scores.append(metrics.roc_auc(y[judged], p, np.ones(len(p))))
            if repeat == 0:
                by_fold.append(predict(model, population, world.task).astype("float32"))
                if world.task == "binary":
                    oof[judged] = p
    threshold, draws = None, []
    if world.task == "binary":
        threshold = thresholds.best_threshold(y, oof, COSTS)
        draws = thresholds.draw_thresholds(pd.Series(names.astype(str)), y, oof, COSTS)
    return Trained(uncertainty.Side(by_seed, by_fold), threshold, draws, scores)


def pool(world: World) -> tuple[np.ndarray, list[dict[str, Trained]]]:
    """The population's targets, and each training set's trainings by kind; kept in ``--pools`` for the next part."""
    kept = POOLS / f"{world.name.replace(' ', '-')}-{world.sets}-{SEED}.pickle"
    if kept.is_file():
        return pickle.loads(kept.read_bytes())
    rng = random(1)
    population, target = world.draw(world.population, rng)
    found = []
    for number in range(world.sets):
        x, y = world.draw(world.train, rng)
        trained = {}
        for i, kind in enumerate(("base", "seed", "weaker", *(NULL[1:] if world.task == "binary" else ()))):
            many = kind in ("base", *COMPARED)
            repeats = 2 if many and world.task == "binary" else 1  # what the other methods need
            trained[kind] = train(
                world, kind, x, y, population, 100_000 * SEED + 1000 * number + 100 * i, 3 if many else 1, repeats
            )
        found.append(trained)
    print(f"{world.name}: {world.sets} training sets, {time.process_time():.0f} s of processor", file=sys.stderr)
    kept.write_bytes(pickle.dumps((target, found)))
    return target, found


def take(trained: Trained, rows: np.ndarray, seeds: int = 1) -> uncertainty.Side:
    """A training's predictions for some rows of the population."""
    side = trained.side
    return uncertainty.Side(
        *([p[rows].astype("float64") for p in models] for models in (side.seeds[:seeds], side.folds))
    )


def settings(world: World, **gates: dict) -> params.Params:
    return params.Params(seed=1, task=world.task, costs=COSTS if world.task == "binary" else None, gates=gates)


def known(world: World, threshold: float | None, chosen: params.Params) -> dict:
    """The metrics that are gated, all of them where none is, at a threshold."""
    every = metrics.metrics_for(world.task, threshold, chosen.costs)
    return {name: metric for name, metric in every.items() if name in (chosen.gates or every)}


def value(metric, y: np.ndarray, p: np.ndarray) -> float:
    """The metric of a whole population, where a gap is a gap and owes nothing to chance."""
    if metric.reliability is None:
        return metric.value(y, p)
    _, size, gap, _ = calibration_error.gaps(*metric.reliability(y, p), np.ones(len(y)))
    return float(size @ gap**2 / len(y)) ** 0.5


def share(count: int, of: int) -> str:
    return f"{100 * count / of:.1f} %"


def line(*cells: object) -> None:
    print("|", " | ".join(map(str, cells)), "|", flush=True)


def head(first: str, *others: str) -> None:
    print()
    line(first, *others)
    line("---", *("--:" for _ in others))


# methods --------------------------------------------------------------------------------------------------------------


def interval(value: float, se: float, freedom: float) -> tuple[float, float]:
    half = se * stats.t.ppf(0.975, freedom)
    return value - half, value + half


def bootstrap(y: np.ndarray, old: list, new: list, rng: np.random.Generator, seeds: bool) -> tuple[float, float]:
    """Percentiles over 2,000 samples of rows, paired, and of seeds; rows by their influences, exact to first order."""
    n = len(y)
    sides = [
        [(metrics.roc_auc(y, p, np.ones(n)), metrics.roc_auc_influence(y, p)) for p in side] for side in (old, new)
    ]
    flat = np.stack([influence for side in sides for _, influence in side])
    moved = rng.multivariate_normal(np.zeros(len(flat)), flat @ flat.T / n**2, size=2000, check_valid="ignore")
    values = moved + [value for side in sides for value, _ in side]
    means = []
    for part in (values[:, : len(old)], values[:, len(old) :]):
        k = part.shape[1]
        drawn = rng.integers(0, k, (2000, k)) if seeds else np.tile(np.arange(k), (2000, 1))
        means.append(np.take_along_axis(part, drawn, axis=1).mean(axis=1))
    low, high = np.quantile(means[1] - means[0], [0.025, 0.975])
    return float(low), float(high)


def by_method(
    y, old: uncertainty.Side, new: uncertainty.Side, cv: tuple[list, list], test_share: float, rng
) -> dict[str, tuple]:
    """95 % intervals of a difference in ROC AUC, each way."""
    one = [replace(side, seeds=side.seeds[:1]) for side in (old, new)]
    area = metrics.metrics_for("binary", 0.5)["roc_auc"]

    def ours(a: uncertainty.Side, b: uncertainty.Side) -> tuple[float, float]:
        found = uncertainty.difference(area, area, y, a, b, 0.95)
        return found.low, found.high

    def corrected(k: int) -> tuple[float, float]:
        d = np.subtract(cv[1][:k], cv[0][:k])
        return interval(d.mean(), np.sqrt((1 / k + test_share) * d.var(ddof=1)), k - 1)

    bare = [replace(side, folds=[]) for side in one]
    return {
        "bootstrap of rows, 1 seed": bootstrap(y, one[0].seeds, one[1].seeds, rng, False),
        "bootstrap of rows and 3 seeds": bootstrap(y, old.seeds, new.seeds, rng, True),
        "5-fold CV, Nadeau–Bengio": corrected(5),
        "2 × 5-fold CV, Nadeau–Bengio": corrected(10),
        "influence (DeLong), rows only": ours(*bare),
        "influence + variance of 3 seeds": ours(*(replace(side, folds=[]) for side in (old, new))),
        "influence + folds, 1 seed (ours)": ours(*one),
        "influence + folds + seeds, 3 seeds (ours, default)": ours(old, new),
    }


def auc(target: np.ndarray, trained: Trained) -> float:
    """The true ROC AUC of a training."""
    return metrics.roc_auc(target, trained.side.seeds[0], np.ones(len(target)))


def run_methods(simulations: int = 400) -> None:
    """Nothing changed (another seed; features refactored), and a change with a known difference."""
    for world in (WORLDS[name] for name in BINARY):
        target, pools = pool(world)
        rng, tally = random(2), {}
        truth = {kind: np.mean([auc(target, t[kind]) - auc(target, t["base"]) for t in pools]) for kind in COMPARED}
        for i, kind in itertools.product(range(simulations), COMPARED):
            rows = rng.integers(0, world.population, HOLDOUT)
            a, b = pools[i % len(pools)]["base"], pools[i % len(pools)][kind]
            found = by_method(target[rows], take(a, rows, 3), take(b, rows, 3), (a.folds, b.folds), 0.25, rng)
            for name, (low, high) in found.items():
                counts = tally.setdefault(name, Counter())
                counts[kind] += not low <= 0 <= high
                counts["covered"] += low <= truth[kind] <= high
                counts["width"] += (high - low) / 2
        print(f"\n### {world.name}\n\nTrue differences: " + ", ".join(f"{k} {v:+.4f}" for k, v in truth.items()))
        head("method", "seed: called", "refactor: called", "coverage", "half width", "weaker: called")
        for name, t in tally.items():
            called = [share(t[kind], simulations) for kind in COMPARED]
            covered, width = share(t["covered"], 3 * simulations), f"{t['width'] / simulations / 3:.4f}"
            line(name, *called[:2], covered, width, called[2])


# null, power, coverage ------------------------------------------------------------------------------------------------

GATES = {"roc_auc": {"margin": 0.005}, "cost": {"margin": 0.05}, "calibration_error": {"margin": 0.03}}


def drawn(world: World, pair: tuple[Trained, Trained], chosen: params.Params) -> list[tuple[dict, dict]]:
    """The metrics of both sides at thresholds that might as well have been chosen."""
    pairs = zip(pair[0].draws, pair[1].draws, strict=True)
    return [tuple(known(world, threshold, chosen) for threshold in both) for both in pairs]


def overall(
    world: World, target: np.ndarray, rows: np.ndarray, pair: tuple[Trained, Trained], seeds: int, chosen: params.Params
) -> tuple[str, dict]:
    """A review's verdict and its metrics."""
    old, new = ((known(world, trained.threshold, chosen), take(trained, rows, seeds)) for trained in pair)
    again = drawn(world, pair, chosen)
    found = compare.judge(target[rows], old, new, chosen, sampling.ROWS, again)
    return compare._overall({n: r for n, r in found.items() if r["gate"]})[0], found


VERDICTS = ("worse", "better", "same", "unclear")


def row(name: str, verdicts: Counter) -> None:
    line(name, verdicts.total(), *(share(verdicts[verdict], verdicts.total()) for verdict in VERDICTS))


def run_null(pulls: int = 200) -> None:
    head("world, seeds a side: change", "pull requests", *VERDICTS)
    for world, seeds in itertools.product((WORLDS[name] for name in BINARY), (3, 1)):
        target, pools = pool(world)
        kinds = NULL if seeds == 1 else tuple(kind for kind in NULL if kind in COMPARED)
        rng, chosen, verdicts = random(3), settings(world, **GATES), {k: Counter() for k in kinds}
        for i in range(pulls):
            trained, kind = pools[(i // len(kinds)) % len(pools)], kinds[i % len(kinds)]
            rows = rng.integers(0, world.population, HOLDOUT)
            pair = trained["base"], trained[kind]
            verdicts[kind][overall(world, target, rows, pair, seeds, chosen)[0]] += 1
        for kind, counted in verdicts.items():
            row(f"{world.name}, {seeds}: {kind}", counted)
        row(f"**{world.name}, {seeds}**", sum(verdicts.values(), Counter()))


def spoil(p: np.ndarray, noise: np.ndarray, size: float) -> np.ndarray:
    """The prediction of a model that also leans on a column of pure noise."""
    return 1 / (1 + np.exp(-np.log(p / (1 - p)) - size * noise))


def spoiled(trained: Trained, target: np.ndarray, noise: np.ndarray, goal: float) -> Trained:
    """A training whose true ROC AUC is the goal: leaning on noise as much as it takes."""
    seeds, folds = (
        [np.clip(p.astype("float64"), 1e-6, 1 - 1e-6) for p in side]
        for side in (trained.side.seeds, trained.side.folds)
    )
    low, high = 0.0, 4.0
    for _ in range(22):
        middle = (low + high) / 2
        above = metrics.roc_auc(target, spoil(seeds[0], noise, middle), np.ones(len(target))) > goal
        low, high = (middle, high) if above else (low, middle)
    sides = ([spoil(p, noise, low) for p in side] for side in (seeds, folds))
    return replace(trained, side=uncertainty.Side(*sides))


def draw_power(curves: dict[str, list[tuple[float, float, float]]]) -> None:
    """Draw how often each true drop was called worse, and the drop that reviews said they see four times in five."""
    figure = Figure(figsize=(7.2, 3.6), dpi=90, layout="constrained")
    axes = figure.add_subplot()
    for (name, curve), colour, mark in zip(curves.items(), ("#0a5ea8", "#b3480a"), "os", strict=False):
        called, drops, said = zip(*curve, strict=True)
        axes.plot(drops, called, color=colour, marker=mark, label=name)
        axes.axvline(np.mean(said), color=colour, linestyle="--", linewidth=1, label=f"{name}: stated as detectable")
    axes.axhline(uncertainty.POWER, color="#57606a", linestyle=":", label="four times in five")
    axes.set(xlabel="true drop of ROC AUC", ylabel="share called worse in ROC AUC", ylim=(0, 1.02))
    axes.grid(color="#d0d7de", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(framealpha=1, edgecolor="none", fontsize=8, loc="lower right")
    figure.savefig(PICTURE)


def run_power(pulls: int = 100) -> None:
    """True drops by construction; the candidate is another training of the baseline's kind."""
    curves = {}
    for world in (WORLDS[name] for name in BINARY):
        target, pools = pool(world)
        rng, chosen = random(4), settings(world, **GATES)
        print(f"\n### {world.name}")
        head("true drop of ROC AUC", "pull requests", "worse", "worse by ROC AUC alone", "stated: detectable")
        curve = []
        for drop in (0.0025, 0.005, 0.0075, 0.01, 0.0125, 0.015, 0.02):
            noise = rng.normal(size=world.population)
            spoilt = [spoiled(t["seed"], target, noise, auc(target, t["base"]) - drop) for t in pools]
            worse, alone, stated = 0, 0, 0.0
            for i in range(pulls):
                rows, t = rng.integers(0, world.population, HOLDOUT), i % len(pools)
                verdict, found = overall(world, target, rows, (pools[t]["base"], spoilt[t]), 3, chosen)
                worse += verdict == "worse"
                alone += found["roc_auc"]["verdict"] == "worse"
                stated += found["roc_auc"]["detectable"] / pulls
            line(f"{drop:.4f}", pulls, share(worse, pulls), share(alone, pulls), f"{stated:.4f}")
            curve.append((alone / pulls, drop, stated))
        called, drops, said = zip(*curve, strict=True)
        found_at = np.interp(uncertainty.POWER, np.maximum.accumulate(called), drops)
        print(f"\nFound four times in five by ROC AUC: {found_at:.4f}; stated: {np.mean(said):.4f}", flush=True)
        curves[world.name] = curve
    if len(curves) > 1:
        draw_power(curves)


def run_coverage(simulations: int = 500) -> None:
    """Half of the simulations compare two seeds, half a training that lacks a column."""
    head("world: metric", "true difference, weaker", "coverage", "of them: seed", "weaker", "coverage, one model")
    for world in WORLDS.values():
        target, pools = pool(world)
        chosen = settings(world)

        def values(trained: Trained, world: World = world, target: np.ndarray = target) -> dict[str, float]:
            p = trained.side.seeds[0].astype("float64")
            return {name: value(m, target, p) for name, m in known(world, trained.threshold, settings(world)).items()}

        true = [{kind: values(of[kind]) for kind in ("base", "seed", "weaker")} for of in pools]
        names = list(true[0]["base"])
        truth = {(k, n): np.mean([e[k][n] - e["base"][n] for e in true]) for k in ("seed", "weaker") for n in names}
        covered: Counter = Counter()
        for i, name in itertools.product(range(simulations), names):
            kind, t = ("seed", "weaker")[i % 2], (i // 2) % len(pools)
            rows = random(i).integers(0, world.population, HOLDOUT)
            a, b, y = pools[t]["base"], pools[t][kind], target[rows]
            before, after = (known(world, trained.threshold, chosen)[name] for trained in (a, b))
            decided = world.task == "binary" and name in metrics.THRESHOLD_DEPENDENT
            draws = [(p[name], q[name]) for p, q in drawn(world, (a, b), chosen)] if decided else None
            sides = take(a, rows, 3), take(b, rows, 3)
            found = uncertainty.difference(before, after, y, *sides, 0.95, sampling.ROWS, draws)
            alone = uncertainty.interval(before, y, take(a, rows).seeds[0], 0.95)
            covered[kind, name] += found.low <= truth[kind, name] <= found.high
            covered["one", name] += alone["low"] <= true[t]["base"][name] <= alone["high"]
        for name in names:
            seed, weak = covered["seed", name], covered["weaker", name]
            shares = share(seed + weak, simulations), share(2 * seed, simulations), share(2 * weak, simulations)
            line(
                f"{world.name}: {name}",
                f"{truth['weaker', name]:+.4f}",
                *shares,
                share(covered["one", name], simulations),
            )


# groups, time, rare positives -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Draws:
    """A way in which rows are drawn together, and how many of them are positive.

    Attributes
    ----------
    sizes : how many rows each group or day has, drawn anew each time
    alike : the part of the log odds, and of the models' errors, that rows of a group or day share
    follows : the autocorrelation of what days share, from one to the next; None for groups
    shift : of the log odds; -5 makes positives rare
    """

    name: str
    sizes: Callable[[np.random.Generator], np.ndarray]
    alike: float
    follows: float | None = None
    shift: float = -0.5


DRAWN = (
    Draws("rows, 2 % positive", lambda _: np.ones(6000, int), 0.0, None, -5.5),
    Draws("rows, 0.5 % positive", lambda _: np.ones(6000, int), 0.0, None, -7.2),
    Draws("200 groups of 25", lambda _: np.full(200, 25), 1.0),
    Draws("200 groups, few of them large", lambda rng: np.minimum(rng.pareto(1.5, 200) * 10 + 2, 400).astype(int), 0.5),
    Draws("40 groups of 50", lambda _: np.full(40, 50), 0.5),
    Draws("100 groups of 50, 3 % positive", lambda _: np.full(100, 50), 0.3, None, -4.5),
    Draws("120 days", lambda rng: rng.poisson(40, 120) + 1, 0.3, 0.0),
    Draws("120 days, each like the one before", lambda rng: rng.poisson(40, 120) + 1, 0.3, 0.5),
    Draws("365 days, each like the one before", lambda rng: rng.poisson(15, 365) + 1, 0.3, 0.7),
    Draws("30 days, each much like the one before", lambda rng: rng.poisson(160, 30) + 1, 0.3, 0.8),
)


def series(count: int, follows: float, rng: np.random.Generator) -> np.ndarray:
    """A series of variance 1 whose autocorrelation dies as ``follows`` says."""
    found = rng.normal(size=count)
    for i in range(1, count):
        found[i] = follows * found[i - 1] + (1 - follows**2) ** 0.5 * found[i]
    return found


def draw_together(draws: Draws, rng: np.random.Generator, many: bool = False) -> tuple:
    """Targets of both tasks, each with the predictions of two models, and what was drawn; ``many``: a population."""
    if many:  # one row of each of very many groups has the same distribution, and nothing is alike
        codes = np.arange(400_000)
    else:
        sizes = draws.sizes(rng)
        codes = np.repeat(np.arange(len(sizes)), sizes)
    count = codes.max() + 1

    def mixed(follows: float | None = None) -> np.ndarray:
        shared = rng.normal(size=count) if many or not follows else series(count, follows, rng)
        return draws.alike**0.5 * shared[codes] + (1 - draws.alike) ** 0.5 * rng.normal(size=len(codes))

    z = 2 * mixed(draws.follows) + draws.shift
    luck = stats.norm.cdf(mixed(draws.follows))
    models = [1 / (1 + np.exp(-z - 0.3 * mixed(draws.follows))) for _ in range(2)]
    y = (luck < 1 / (1 + np.exp(-z))).astype(int)
    number, errors = z, [mixed(draws.follows) * np.exp(0.3 * mixed(draws.follows)) for _ in range(2)]
    known = sampling.ROWS if draws.alike == 0 else sampling.Sample(codes) if draws.follows is None else None
    sample = known or sampling.Sample(moment=codes)
    return sample, {"binary": (y, models), "regression": (number, [number + error for error in errors])}


def run_drawn(simulations: int = 300) -> None:
    """How often the interval of one model, and of the difference of two of equal worth, holds the truth."""
    titles = "one model", "difference", "one model, as if rows were", "difference, as if rows were"
    head("what was drawn: metric", *titles)
    for draws in DRAWN:
        _, true = draw_together(draws, random(11), many=True)
        labels, (first, _) = true["binary"]
        at = float(np.quantile(first[labels == 1], 0.4))
        known = {"binary": metrics.metrics_for("binary", at, COSTS), "regression": metrics.metrics_for("regression")}
        truth = {(t, n): value(m, true[t][0], true[t][1][0]) for t, of in known.items() for n, m in of.items()}
        held: Counter = Counter()
        for i in range(simulations):
            sample, drawn_rows = draw_together(draws, random(1000 + i))
            for (task, name), (way, counted) in itertools.product(truth, (("own", sample), ("rows", sampling.ROWS))):
                y, (a, b) = drawn_rows[task]
                metric = known[task][name]
                alone = uncertainty.interval(metric, y, a, 0.95, counted)
                held[task, name, way, "one"] += alone["low"] <= truth[task, name] <= alone["high"]
                sides = uncertainty.Side([a], []), uncertainty.Side([b], [])
                found = uncertainty.difference(metric, metric, y, *sides, 0.95, counted)
                held[task, name, way, "two"] += found.low <= 0 <= found.high
        for task, name in truth:
            ways = ("own", "one"), ("own", "two"), ("rows", "one"), ("rows", "two")
            line(f"{draws.name}: {name}", *(share(held[(task, name, *way)], simulations) for way in ways))


# churn, speed ---------------------------------------------------------------------------------------------------------

BASKETS = ["average_order_value", "items_per_order", "largest_order", "weekend_shopper", "seasonal_buyer"]


def logs(x: np.ndarray) -> np.ndarray:
    """The same features, some on another scale, one twice."""
    return np.column_stack([np.log1p(x[:, :8]), x[:, 8:] * 100, x[:, 0]])


def run_churn(splits: int = 5, pulls: int = 20) -> None:
    """In each of several other holdouts: pull requests of no substance, one without recency, one with baskets alone."""
    from mlcicd.contract import document as contracts
    from mlcicd.data import load, split
    from mlcicd.training import train as training

    names = importlib.import_module(f"{PACKAGE}.features").FEATURES
    root, rng = Path.cwd(), random(6)
    contract, chosen = contracts.load(root / "contract.yaml"), params.load(root / "params.yaml")
    table = load.load(contract, chosen, root).table
    views = {
        "columns": lambda x: x[:, np.random.default_rng(1).permutation(x.shape[1])],
        "refactor": logs,
        "without recency": lambda x: x[:, [i for i, n in enumerate(names) if n != "days_since_last_purchase"]],
        "baskets alone": lambda x: x[:, [names.index(n) for n in BASKETS]],
    }

    def side(kind: str, seed: int, noisy: bool, salt: int) -> tuple[np.ndarray, uncertainty.Side, tuple]:
        drawn = chosen.model_copy(update={"split": chosen.split.model_copy(update={"salt": salt + 1000 * SEED})})
        shuffled = table.sample(frac=1, random_state=seed).reset_index(drop=True) if kind == "rows" else table
        divided, y = split.make_split(shuffled, contract.table, drawn), shuffled["churned"].to_numpy().astype(int)
        inputs, rest = shuffled[[p.name for p in contract.table.features]], np.flatnonzero(divided.training)
        pipeline = training.build(chosen, seed)
        if noisy:
            pipeline.set_params(model__early_stopping=True, model__max_features=0.5)
        pipeline.steps.insert(1, ("view", FunctionTransformer(views.get(kind))))
        ids = np.argsort(split.row_ids(shuffled, contract.table)[divided.holdout].to_numpy())
        judged = inputs[divided.holdout].iloc[ids]
        oof, folds = np.zeros(len(rest)), []
        for number, (fit, out) in enumerate(divided.folds, start=1):
            model = (
                clone(pipeline).set_params(model__random_state=seed + number).fit(inputs.iloc[rest[fit]], y[rest[fit]])
            )
            oof[out] = model.predict_proba(inputs.iloc[rest[out]])[:, 1]
            folds.append(model.predict_proba(judged)[:, 1])
        whole = pipeline.fit(inputs.iloc[rest], y[rest]).predict_proba(judged)[:, 1]
        threshold = thresholds.best_threshold(y[rest], oof, chosen.costs)
        draws = thresholds.draw_thresholds(
            split.row_ids(shuffled, contract.table).iloc[rest], y[rest], oof, chosen.costs
        )
        return y[divided.holdout][ids], uncertainty.Side([whole], folds), (threshold, draws)

    counted: dict[str, Counter] = {}
    for number, noisy in itertools.product(range(splits), (False, True)):
        y, base, known = side("base", chosen.seed, noisy, number)
        kinds = [NULL[int(k)] for k in rng.permutation(np.arange(pulls) % len(NULL))]
        for i, kind in enumerate([*kinds, "without recency", "baskets alone"]):
            _, other, others = side(kind, chosen.seed if kind not in ("seed", "rows") else 100 + i, noisy, number)
            pairs = [(known[0], others[0]), *zip(known[1], others[1], strict=True)]
            at, *again = [tuple(metrics.chosen(chosen, t) for t in pair) for pair in pairs]
            found = compare.judge(y, (at[0], base), (at[1], other), chosen, sampling.ROWS, again)
            verdict = compare._overall({n: r for n, r in found.items() if r["gate"]})[0]
            learner = "noisier boosting" if noisy else "default model"
            counted.setdefault(f"{learner}: {kind}", Counter())[verdict] += 1
        print(
            number, learner, {name: dict(verdicts) for name, verdicts in counted.items()}, file=sys.stderr, flush=True
        )
    head("churn data", "pull requests", *VERDICTS)
    for name, verdicts in sorted(counted.items()):
        row(name, verdicts)
    row("**nothing of substance**", sum((v for n, v in counted.items() if n.endswith(NULL)), Counter()))


def run_speed(n: int = 100_000, columns: int = 14) -> None:
    from mlcicd.training import run as runs

    rng = np.random.default_rng(7)
    z, ids = rng.normal(size=n) * 1.5 + 1, np.asarray([f"{i:09}" for i in range(n)])
    y = (rng.random(n) < 1 / (1 + np.exp(-z))).astype(int)
    features = pd.DataFrame(rng.normal(size=(n, columns)), columns=[f"x{i}" for i in range(columns)]).assign(row=ids)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("baseline", "candidate"):
            run = Path(folder) / name
            run.mkdir()
            parts = ["holdout", *(f"holdout-fold-{i}" for i in range(1, 6))]
            pd.concat(
                pd.DataFrame(
                    {
                        "row": ids,
                        "part": part,
                        "seed": 7,
                        "target": y,
                        "prediction": 1 / (1 + np.exp(-z - 0.2 * rng.normal(size=n))),
                    }
                )
                for part in parts
            ).to_parquet(run / "predictions.parquet")
            features.to_parquet(run / "holdout.parquet")
            (run / "metrics.json").write_text(
                json.dumps({"task": "binary", "classes": [False, True], "threshold": 0.7})
            )
            (run / "manifest.json").write_text(json.dumps({"seeds": [7]}))
            (run / "model.skops").touch()
            for file in ("contract.yaml", "params.yaml"):
                shutil.copyfile(file, run / file)
        before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
        found = compare.compare(*(runs.Run(Path(folder) / name) for name in ("baseline", "candidate")))
        seconds = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    judged = f"{n:,} rows, {len(found['metrics'])} metrics, {found['slices']['judged']} slices"
    print(f"{judged}: {seconds:.1f} s, peak {peak / 1024:,.0f} MB (before: {before / 1024:,.0f} MB)")


PARTS = {
    "methods": run_methods,
    "null": run_null,
    "power": run_power,
    "coverage": run_coverage,
    "drawn": run_drawn,
    "churn": run_churn,
    "speed": run_speed,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--pools", type=Path, default=POOLS, help="where trained pools are kept for the next part")
    parser.add_argument("--sets", type=int, default=SETS, help="training sets a world")
    parser.add_argument("--seed", type=int, default=SEED, help="of other training sets, populations and holdouts")
    parser.add_argument("--world", choices=BINARY, help="only this one")
    parser.add_argument("--size", type=int, help="how many pull requests, simulations, splits or rows; not the default")
    asked = parser.parse_args()
    POOLS, SEED, began = asked.pools, asked.seed, time.monotonic()
    WORLDS = {name: replace(world, sets=asked.sets) for name, world in WORLDS.items()}
    BINARY = [name for name in BINARY if asked.world in (name, None)]
    PARTS[asked.part](*[asked.size] * (asked.size is not None))
    print(f"{asked.part}: {time.monotonic() - began:.0f} s, {time.process_time():.0f} s of processor", file=sys.stderr)
