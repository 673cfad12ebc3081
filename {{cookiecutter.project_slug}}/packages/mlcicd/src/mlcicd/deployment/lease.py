"""One roll-out at a time in a namespace: a Lease of the cluster says whose it is."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from mlcicd.core.errors import InputError
from mlcicd.deployment.kubectl import Kubectl, last_line

NAME = "ml-deploy"
SECONDS = 3600  # longer than any roll-out: whoever holds it longer was killed
Manifest = dict[str, Any]


@contextmanager
def held(kubectl: Kubectl, what: str, make_namespace: Callable[[], None]) -> Iterator[None]:
    """Hold the namespace's lease.

    Parameters
    ----------
    what : what it is held for, in a word or two
    make_namespace : called where there is no such namespace yet

    Raises
    ------
    InputError
        Somebody else holds it.
    """
    lease = _take(kubectl, what, make_namespace)
    try:
        yield
    finally:
        # The version of what we wrote goes with it: a lease that somebody has taken over since stays theirs.
        lease["spec"] |= {"holderIdentity": ""}
        kubectl.send("replace", [lease])


def _take(kubectl: Kubectl, what: str, make_namespace: Callable[[], None]) -> Manifest:
    now = datetime.now(UTC)
    spec = {
        "holderIdentity": f"ml deploy {what} on {socket.gethostname()}",
        "acquireTime": now.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "leaseDurationSeconds": SECONDS,
    }
    found = kubectl.get("lease", NAME)
    if found is not None:
        _refuse_if_held(kubectl, found["spec"], now)
        done = kubectl.send("replace", [found | {"spec": spec}], "--output=json")
    else:
        made = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": NAME}, "spec": spec}
        done = kubectl.send("create", [made], "--output=json")
        if f'namespaces "{kubectl.namespace}" not found' in done.stderr:
            make_namespace()
            done = kubectl.send("create", [made], "--output=json")
    if done.returncode:
        now_there = kubectl.get("lease", NAME)
        if now_there is not None:
            _refuse_if_held(kubectl, now_there["spec"], now)
        raise InputError(f"kubectl: the lease {NAME} cannot be taken: {last_line(done.stderr)}")
    lease: Manifest = json.loads(done.stdout)
    return lease


def _refuse_if_held(kubectl: Kubectl, spec: Manifest, now: datetime) -> None:
    holder, since = spec.get("holderIdentity"), spec.get("acquireTime")
    if not holder or not since:
        return
    ends = datetime.fromisoformat(since) + timedelta(seconds=spec.get("leaseDurationSeconds", SECONDS))
    if ends > now:
        raise InputError(
            f"{kubectl.namespace}: '{holder}' is at work since {since}; wait for it, or if it was killed: "
            f"kubectl delete lease {NAME} --namespace {kubectl.namespace}"
        )
