"""What the mirrors counted, as who rolls out reads it: from their metrics to a judgement."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlcicd import tasks
from mlcicd.core.errors import InputError
from mlcicd.core.params import Params
from mlcicd.shadow.judgement import judge
from mlcicd.shadow.names import RUNNING, SHADOW
from mlcicd.shadow.pair_metrics import PairMetrics
from mlcicd.shadow.pairs import Counts, Pairs, read
from prometheus_client import CollectorRegistry, Gauge, generate_latest

BOUNDS = np.linspace(0.05, 0.95, 19).round(2).tolist()
PARAMS = Params(seed=1, task="binary")
VERSION = "abc1234-5678"
SCORES = np.random.default_rng(1).beta(1, 3, 400)


class Pod:
    """A pod whose mirror has one worker."""

    def __init__(self, kind: str = "binary", bounds: list[float] = BOUNDS) -> None:
        self.registry, self.kind = CollectorRegistry(), kind
        self.metrics = PairMetrics(tasks.of(kind), bounds, self.registry)

    def pairs(
        self,
        running: Iterable[Any],
        shadow: Iterable[Any],
        seconds: tuple[float, float] = (0.004, 0.004),
        version: str = VERSION,
    ) -> Pod:
        """Count requests of one row each."""
        for before, after in zip(running, shadow, strict=True):
            self.metrics.compare(version, [answer(self.kind, before)], [answer(self.kind, after)])
            self.metrics.time(version, *seconds)
            self.metrics.count("compared")
        return self

    @property
    def samples(self) -> Any:
        return read(generate_latest(self.registry).decode())


def answer(kind: str, score: Any) -> dict[str, Any]:
    if kind == "regression":
        return {"prediction": score, "interval": [score - 2, score + 2]}
    if kind == "multiclass":
        return {"prediction": score, "probability": {k: 0.8 if k == score else 0.1 for k in ("a", "b", "other 1")}}
    return {"prediction": score >= 0.5, "probability": score, "decision": score >= 0.3}


def counted(*pods: Pod) -> Pairs:
    counts = Counts({})
    counts.update({str(number): pod.samples for number, pod in enumerate(pods)})
    return counts.pairs(VERSION)


def judged(pod: Pod, **limits: float) -> tuple[bool, list[str]]:
    params = Params.model_validate({"seed": 1, "task": pod.kind, "shadow": limits})
    return judge(counted(pod), tasks.of(pod.kind), params)


def test_a_shadow_that_answers_alike_passes_every_gate():
    passed, lines = judged(Pod().pairs(SCORES, SCORES * 0.999))
    assert passed
    assert lines[0] == "✅ errors: 0 of 400 copies, gate ≤ 1 %"
    assert lines[1].startswith("✅ agreement, same decision: 100.0% (95 % CI 99.0% to 100.0%) of 400 rows")
    assert lines[2].startswith("✅ drift of the predictions: distance 0.00")
    assert lines[3] == "✅ latency: p50 4.1 → 4.1 ms, p99 4.5 → 4.5 ms, gate ≤ 2 ×"
    assert lines[4].startswith("difference of the probability: ")


def test_a_shadow_that_disagrees_fails_and_the_reason_says_by_how_much():
    passed, lines = judged(Pod().pairs(SCORES, 1 - SCORES))
    assert not passed
    agree = np.mean((SCORES >= 0.3) == (1 - SCORES >= 0.3))
    assert lines[1].startswith(f"❌ agreement, same decision: {agree:.1%} (95 % CI ") and lines[1].endswith(
        "gate ≥ 90 %"
    )
    assert lines[2].startswith("❌ drift of the predictions: distance 0.") and "p < 0.0001" in lines[2]
    assert judged(Pod().pairs(SCORES, 1 - SCORES), agreement=0, distance=1)[0]


def test_each_gate_fails_alone():
    slow = Pod().pairs(SCORES, SCORES, seconds=(0.004, 0.012))
    assert [line[0] for line in judged(slow)[1][:4]] == ["✅", "✅", "✅", "❌"]
    assert judged(slow, latency=3.5)[0]
    failing = Pod().pairs(SCORES, SCORES)
    failing.metrics.count("422", 9)
    failing.metrics.count("unreachable")
    failing.metrics.count("away", 300)
    passed, lines = judged(failing)
    assert not passed
    assert lines[0] == "❌ errors: 10 of 410 copies (9 422, 1 unreachable), gate ≤ 1 %"
    assert judged(failing, errors=0.03)[0]


def test_another_version_behind_the_address_is_an_error():
    passed, lines = judged(Pod().pairs(SCORES, SCORES, version="another"))
    assert not passed
    assert lines == ["❌ errors: 400 of 400 copies (400 answered by another version), gate ≤ 1 %"]


def test_too_few_requests_are_unclear():
    few = Pod().pairs(SCORES[:12], SCORES[:12])
    few.metrics.count("500", 3)
    passed, [line] = judged(few)
    assert not passed
    assert line.startswith("❌ unclear: 15 of 200 copies in 10 minutes (3 500); deploy while there are more requests")


def test_numbers_agree_within_the_interval_and_differ_in_the_unit_of_the_target():
    values = np.random.default_rng(2).normal(100, 20, 300)
    bounds = np.quantile(values, np.linspace(0.05, 0.95, 19)).tolist()
    off = np.random.default_rng(3).normal(1, 0.5, 300)
    passed, lines = judged(Pod("regression", bounds).pairs(values, values + off))
    assert passed
    inside = (np.abs(off) <= 2).mean()
    assert lines[1].startswith(f"✅ agreement, inside the running version's interval: {inside:.1%} (")
    half = 1.96 * off.std(ddof=1) / 300**0.5
    expected = f"+{off.mean():.3f} (95 % CI +{off.mean() - half:.3f} to +{off.mean() + half:.3f})"
    assert lines[4] == f"difference of the prediction: {expected}"
    assert not judged(Pod("regression", bounds).pairs(values, values + 30))[0]


def test_classes_drift_by_their_shares():
    names = np.asarray(["a", "b", "other 1"])
    before = names[np.random.default_rng(4).integers(0, 3, 300)]
    after = np.where((before == "b") & (np.arange(300) % 2 == 0), "other 1", before)
    passed, lines = judged(Pod("multiclass").pairs(before, after), agreement=0.5)
    moved = (before != after).mean()
    assert not passed
    assert lines[1].startswith(f"✅ agreement, same class: {1 - moved:.1%}")
    assert lines[2].startswith(f"❌ drift of the predictions: distance {moved:.3f} (p ")
    assert judged(Pod("multiclass").pairs(before, before))[0]


def test_what_was_counted_before_does_not_count_and_pods_come_and_go():
    old, gone, new = Pod().pairs(SCORES[:50], SCORES[:50]), Pod(), Pod()
    counts = Counts({"old": old.samples, "gone": gone.samples})
    assert counts.pairs(VERSION).sent == counts.pairs(VERSION).compared == 0
    counts.update(
        {"old": old.pairs(SCORES[:7], 1 - SCORES[:7]).samples, "gone": gone.pairs(SCORES[:5], SCORES[:5]).samples}
    )
    counts.update({"old": old.samples, "new": new.pairs(SCORES[:3], SCORES[:3]).samples})
    found = counts.pairs(VERSION)
    assert (found.sent, found.compared, found.agreeing[1]) == (15, 15, 15)
    mean, _, rows = found.difference
    assert rows == 15 and mean == pytest.approx(sum(1 - 2 * SCORES[:7]) / 15)


@given(st.lists(st.floats(0.0006, 10), min_size=1, max_size=80), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_quantile_is_known_to_a_fifth(seconds: list[float], share: float):
    pod = Pod()
    for value in seconds:
        pod.metrics.time(VERSION, value, 1.0)
    found = counted(pod).quantile(RUNNING, share)
    exact = np.quantile(seconds, share, method="inverted_cdf")
    assert exact / 1.21 <= found <= exact * 1.21
    assert 1 / 1.21 <= counted(pod).quantile(SHADOW, share) <= 1.21


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), st.floats(allow_nan=False, allow_infinity=False))
def test_metrics_are_read_as_the_library_of_prometheus_writes_them(label: str, value: float):
    registry = CollectorRegistry()
    Gauge("ml_shadow_x", "Anything", ["class", "side"], registry=registry).labels(label, "a").set(value)
    Gauge("ml_other", "Anything else", ["class"], registry=registry).labels(label).set(value)
    text = generate_latest(registry).decode()
    assert read(text) == {("ml_shadow_x", frozenset({("class", label), ("side", "a")})): value}


def test_metrics_without_a_mirror_have_no_samples():
    assert read('# TYPE ml_requests counter\nml_requests_total{path="/predict"} 3.0\n') == {}
    assert Pod().samples


@pytest.mark.parametrize("limits", [{"requests": 0}, {"agreement": 1.1}, {"latncy": 2}, {"errors": 1}])
def test_wrong_gates_are_refused(limits: dict[str, float], tmp_path: Any):
    from mlcicd.core import params

    path = tmp_path / "params.yaml"
    path.write_text(f"seed: 1\ntask: binary\nshadow: {limits}\n")
    with pytest.raises(InputError, match=next(iter(limits))):
        params.load(path)
