"""The stage between the smoke test and the traffic: a release answers copies of requests."""

from __future__ import annotations

import time
from pathlib import Path

from mlcicd.core import params
from mlcicd.core.errors import InputError
from mlcicd.deployment.release import Release
from mlcicd.deployment.targets import Mirroring
from mlcicd.packaging.export import version_of
from mlcicd.shadow.judgement import judge
from mlcicd.shadow.pairs import Counts, Samples, read
from mlcicd.training.run import Run, say

LOOK = 5  # seconds from one look at the metrics to the next


def compare(target: Mirroring, release: Release, root: Path) -> tuple[bool, list[str]]:
    """Wait for enough copies, and judge the answers by ``shadow`` in ``params.yaml``.

    Returns
    -------
    Whether the release may have the traffic, and lines for people: none where nothing mirrors.

    Raises
    ------
    InputError
        The running version cannot mirror, or ``params.yaml`` is wrong.
    """
    found = target.mirrors()
    if found is None:
        return True, []
    settings, run = params.load(root / "params.yaml"), Run(release.run)
    version, counts = version_of(run), Counts(_read(found))
    began = time.monotonic()
    seconds, said = 60 * settings.shadow.minutes, 0.0
    while True:
        pairs, passed = counts.pairs(version), time.monotonic() - began
        if pairs.sent >= settings.shadow.requests or passed >= seconds:
            break
        if passed >= said:
            said = passed + 30
            say(f"shadow: {pairs.sent:,} of {settings.shadow.requests:,} requests")
        time.sleep(min(LOOK, max(seconds - passed, 0)))
        counts.update(_read(target.mirrors() or {}))
    fine, lines = judge(pairs, run.task, settings)
    head = f"shadow {version}: {pairs.sent:,} copies in {passed:.0f} s, {pairs.dropped:,} others were not sent"
    return fine, [head, *lines]


def _read(metrics: dict[str, str]) -> dict[str, Samples]:
    pods = {pod: read(text) for pod, text in metrics.items()}
    if pods and not any(pods.values()):
        raise InputError(
            "the running version copies no requests: its release is older than the shadow, or overrides predict; "
            "leave the component 'shadow' out of the overlay for this roll-out"
        )
    return pods
