"""What the mirrors of all pods have counted, read from their metrics."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlcicd.shadow.names import AWAY, COMPARED, COPIES, DROPPED, RUNNING, SHADOW

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
Bins = dict[str, float]  # counts by upper edge, or by class
LABEL = re.compile(r'([a-z]+)="((?:[^"\\]|\\.)*)"')
SAMPLE = re.compile(r"^(ml_shadow_\w+)\{((?:[^\"}]|\"(?:[^\"\\]|\\.)*\")*)\} (\S+)$", re.MULTILINE)
ESCAPED, ESCAPES = re.compile(r'\\([n"\\])'), {"n": "\n", '"': '"', "\\": "\\"}


def read(text: str) -> Samples:
    """Return the mirror's samples of one pod's metrics; none where it has no mirror.

    The client library of Prometheus reads them too, and is installed only where the service is.
    """
    found: Samples = {}
    for name, labels, value in SAMPLE.findall(text):
        named = [(key, ESCAPED.sub(lambda sign: ESCAPES[sign[1]], given)) for key, given in LABEL.findall(labels)]
        found[name, frozenset(named)] = float(value)
    return found


class Counts:
    """What was counted since the first look, over all pods.

    A pod that is gone keeps what it had counted; one that came later starts from nothing.
    """

    def __init__(self, pods: dict[str, Samples]) -> None:
        self._first, self._last = pods, dict(pods)

    def update(self, pods: dict[str, Samples]) -> None:
        """Take another look."""
        self._last |= pods

    def pairs(self, version: str) -> Pairs:
        """Return what was counted of one version of the shadow."""
        total: defaultdict[tuple[str, frozenset[tuple[str, str]]], float] = defaultdict(float)
        for pod, samples in self._last.items():
            before = self._first.get(pod, {})
            for key, value in samples.items():
                total[key] += value - before.get(key, 0)
        return Pairs(dict(total), version)


@dataclass(frozen=True)
class Pairs:
    """Counts and sums of pairs of answers."""

    samples: Samples
    version: str

    @property
    def compared(self) -> int:
        """Requests whose answers were compared, of this version."""
        return round(sum(self._bins("ml_shadow_seconds_bucket", "le", side=RUNNING).values()))

    @property
    def sent(self) -> int:
        """Copies that were sent."""
        return round(sum(self._outcomes().values())) - self.dropped

    @property
    def dropped(self) -> int:
        """Copies that were not sent."""
        return round(sum(self._outcomes().get(outcome, 0) for outcome in (DROPPED, AWAY)))

    @property
    def failed(self) -> dict[str, int]:
        """Copies that were sent in vain, by outcome."""
        fine = (COMPARED, DROPPED, AWAY)
        return {name: round(count) for name, count in self._outcomes().items() if count and name not in fine}

    @property
    def agreeing(self) -> tuple[int, int]:
        """How many rows agree, and how many there are."""
        found = self._bins("ml_shadow_rows_total", "agrees")
        return round(found.get("yes", 0)), round(sum(found.values()))

    @property
    def difference(self) -> tuple[float, float, int]:
        """Mean and standard deviation of the differences, and the number of rows."""
        rows = self._value("ml_shadow_difference_count")
        if rows < 1:
            return 0.0, 0.0, 0
        mean = self._value("ml_shadow_difference_sum") / rows
        spread = max(self._value("ml_shadow_difference_squares_total") / rows - mean**2, 0.0)
        return mean, float(np.sqrt(spread * rows / max(rows - 1, 1))), round(rows)

    def quantile(self, side: str, share: float) -> float:
        """Return a quantile of the seconds to answer, between the edges of its bin."""
        bins = sorted(
            (float(edge), count) for edge, count in self._bins("ml_shadow_seconds_bucket", "le", side=side).items()
        )
        wanted = share * sum(count for _, count in bins)
        low = 0.0
        for edge, count in bins:
            if count and count >= wanted:
                return low if np.isinf(edge) else low + (edge - low) * wanted / count
            wanted, low = wanted - count, edge
        return low

    def predictions(self) -> tuple[Bins, Bins, bool]:
        """Return the predictions of both sides by bin or class, and whether these are classes."""
        classes = [self._bins("ml_shadow_predictions_total", "class", side=side) for side in (RUNNING, SHADOW)]
        if any(classes):
            return classes[0], classes[1], True
        bins = [self._bins("ml_shadow_prediction_bucket", "le", side=side) for side in (RUNNING, SHADOW)]
        return bins[0], bins[1], False

    def _outcomes(self) -> Bins:
        return {dict(labels)["outcome"]: count for (name, labels), count in self.samples.items() if name == COPIES}

    def _value(self, name: str) -> float:
        return self.samples.get((name, frozenset({("version", self.version)})), 0.0)

    def _bins(self, name: str, by: str, **wanted: str) -> Bins:
        """Return the counts of a metric by one label; a histogram's, which are cumulative, as those of each bin."""
        found: Bins = {}
        for (metric, labels), value in self.samples.items():
            given: dict[str, Any] = dict(labels)
            if metric == name and given["version"] == self.version and wanted.items() <= given.items():
                found[given[by]] = value
        if by != "le":
            return {label: count for label, count in found.items() if count}
        edges = sorted(found, key=float)
        counts = np.diff([found[edge] for edge in edges], prepend=0.0).tolist()
        return dict(zip(edges, counts, strict=True))
