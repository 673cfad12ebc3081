"""May a shadow take over? Its pairs against the gates of ``shadow`` in ``params.yaml``, in the words of a review."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pandas as pd
from scipy import stats

from mlcicd.core.params import Params
from mlcicd.evaluation import distances
from mlcicd.rendering.blocks import interval, number
from mlcicd.shadow.names import RUNNING, SHADOW
from mlcicd.shadow.pairs import Bins, Pairs
from mlcicd.tasks.task import Task


def judge(pairs: Pairs, task: Task, params: Params) -> tuple[bool, list[str]]:
    """Return whether every gate passes, and one line for each measure."""
    limits = params.shadow
    if pairs.sent < limits.requests:
        failed = f" ({_named(pairs)})" if pairs.failed else ""
        return False, [
            f"❌ unclear: {pairs.sent:,} of {limits.requests:,} copies in {limits.minutes:g} minutes{failed}; deploy "
            "while there are more requests, or write a smaller shadow.requests into params.yaml"
        ]
    gates = [_errors(pairs, limits.errors)]
    if pairs.compared:
        gates += [_agreement(pairs, task, params), _drift(pairs, params), _latency(pairs, limits.latency)]
    lines = [f"{'✅' if passed else '❌'} {line}" for passed, line in gates]
    if pairs.compared:
        lines.append(_difference(pairs, task, params.review.confidence))
    return all(passed for passed, _ in gates), lines


def _errors(pairs: Pairs, limit: float) -> tuple[bool, str]:
    failed = pairs.sent - pairs.compared
    other = failed - sum(pairs.failed.values())
    parts = [part for part in (_named(pairs), f"{other:,} answered by another version" if other > 0 else "") if part]
    why = f" ({', '.join(parts)})" if parts else ""
    return failed <= limit * pairs.sent, f"errors: {failed:,} of {pairs.sent:,} copies{why}, gate ≤ {100 * limit:g} %"


def _named(pairs: Pairs) -> str:
    return ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(pairs.failed.items()))


def _agreement(pairs: Pairs, task: Task, params: Params) -> tuple[bool, str]:
    agree, rows = pairs.agreeing
    chance = stats.binomtest(agree, rows).proportion_ci(params.review.confidence, method="wilson")
    gate = params.shadow.agreement
    level = f"{100 * params.review.confidence:g} % CI"
    found = f"{agree / rows:.1%} ({level} {chance.low:.1%} to {chance.high:.1%}) of {rows:,} rows"
    return agree >= gate * rows, f"agreement, {task.agreement}: {found}, gate ≥ {100 * gate:g} %"


def _drift(pairs: Pairs, params: Params) -> tuple[bool, str]:
    before, after, are_classes = pairs.predictions()
    found = distances.between(_values(before, are_classes), _values(after, are_classes))
    gate = params.shadow.distance
    moved = found["distance"] >= gate and found["p"] < params.drift.significance
    chance = f"{found['p']:.2g}" if found["p"] >= 0.0001 else "< 0.0001"
    return not moved, f"drift of the predictions: distance {number(found['distance'])} (p {chance}), gate < {gate:g}"


def _values(bins: Bins, are_classes: bool) -> pd.Series:
    """Return as many values as were counted: a class, or the upper edge of a bin."""
    labels: list[object] = list(bins) if are_classes else [min(float(edge), np.finfo(float).max) for edge in bins]
    counts = np.round(list(bins.values())).astype(int)
    values = pd.Series(np.repeat(np.asarray(labels, dtype=object), counts))
    return values if are_classes else values.astype("float64")


def _latency(pairs: Pairs, gate: float) -> tuple[bool, str]:
    texts, passed = [], True
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        before, after = (1000 * pairs.quantile(side, share) for side in (RUNNING, SHADOW))
        texts.append(f"{name} {before:.1f} → {after:.1f} ms")
        passed &= after <= gate * before
    return passed, f"latency: {', '.join(texts)}, gate ≤ {gate:g} ×"


def _difference(pairs: Pairs, task: Task, confidence: float) -> str:
    mean, deviation, rows = pairs.difference
    half = NormalDist().inv_cdf((1 + confidence) / 2) * deviation / max(rows, 1) ** 0.5
    found = f"{number(mean, signed=True)} ({100 * confidence:g} % CI {interval(mean - half, mean + half, signed=True)})"
    return f"difference of the {task.compared}: {found}"
