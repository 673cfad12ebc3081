"""Pairs of answers as Prometheus metrics: summed over workers by the service, and over pods by who reads them.

No pair is kept. What a comparison needs of them are counts and sums.
"""

from __future__ import annotations

from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, Summary

from mlcicd.shadow.names import DROPPED, RUNNING, SHADOW
from mlcicd.tasks.task import Task

# Each bound is a fifth above the one before, so that a quantile is known to a few per cent.
SECONDS = [round(0.0005 * 1.2**k, 6) for k in range(56)]  # 0.5 ms to 11 s
# A request of many rows must not outvote the others, nor keep the worker busy.
ROWS = 100


class PairMetrics:
    """The metrics of a worker.

    Parameters
    ----------
    task : the kind of task of the running version
    bounds : of the predictions' bins
    registry : Prometheus'
    """

    def __init__(self, task: Task, bounds: list[float], registry: CollectorRegistry = REGISTRY) -> None:
        self._task = task
        version, side = ["version"], ["version", "side"]
        self._copies = Counter(
            "ml_shadow_requests", "Copies of requests, by what became of them", ["outcome"], registry=registry
        )
        self._rows = Counter("ml_shadow_rows", "Rows that both answered", [*version, "agrees"], registry=registry)
        self._difference = Summary(
            "ml_shadow_difference", "Shadow's minus running prediction", version, registry=registry
        )
        self._squares = Counter("ml_shadow_difference_squares", "Sum of squares", version, registry=registry)
        self._seconds = Histogram("ml_shadow_seconds", "Time to answer", side, registry=registry, buckets=SECONDS)
        self._values = Histogram(
            "ml_shadow_prediction", "P(positive), or value", side, registry=registry, buckets=bounds
        )
        self._classes = Counter("ml_shadow_predictions", "Predictions", [*side, "class"], registry=registry)
        self.count(DROPPED, 0)  # from 0, so that a reader sees that there is a mirror

    def count(self, outcome: str, copies: int = 1) -> None:
        """Count copies that could not be compared."""
        self._copies.labels(outcome).inc(copies)

    def compare(self, version: str, running: list[dict[str, Any]], shadow: list[dict[str, Any]]) -> None:
        """Compare the answers to one request, of which the first rows count.

        Raises
        ------
        LookupError, TypeError, ValueError
            The answers are of another form; nothing has been counted.
        """
        if len(running) != len(shadow):
            raise ValueError("answers to another number of rows")
        pairs = list(zip(running[:ROWS], shadow[:ROWS], strict=True))
        agree = [self._task.agrees(mine, theirs) for mine, theirs in pairs]
        apart = [self._task.difference(mine, theirs) for mine, theirs in pairs]
        monitored = self._task.monitored
        seen = [
            [answer["prediction"] if monitored is None else float(answer[monitored]) for answer in answers]
            for answers in zip(*pairs, strict=True)
        ]
        self._rows.labels(version, "yes").inc(sum(agree))
        self._rows.labels(version, "no").inc(len(agree) - sum(agree))
        difference = self._difference.labels(version)
        for value in apart:
            difference.observe(value)
        self._squares.labels(version).inc(sum(value * value for value in apart))
        for side, values in zip((RUNNING, SHADOW), seen, strict=True):
            self._observe(version, side, values)

    def time(self, version: str, running: float, shadow: float) -> None:
        """Record how long both versions took for one request, in seconds."""
        self._seconds.labels(version, RUNNING).observe(running)
        self._seconds.labels(version, SHADOW).observe(shadow)

    def _observe(self, version: str, side: str, values: list[Any]) -> None:
        if self._task.monitored is None:
            for label in values:
                self._classes.labels(version, side, str(label)).inc()
            return
        histogram = self._values.labels(version, side)
        for value in values:
            histogram.observe(value)
