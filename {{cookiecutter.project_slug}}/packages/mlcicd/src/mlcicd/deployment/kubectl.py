"""Run kubectl in one namespace, and turn what it refuses into one line."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from mlcicd.core.errors import InputError
from mlcicd.system import processes
from mlcicd.system.scratch import scratch

MISSING = "'kubectl' is not installed; see https://kubernetes.io/docs/tasks/tools/"
FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) ->")


class Kubectl:
    """kubectl in one namespace of the cluster that its configuration names."""

    def __init__(self, root: Path, namespace: str) -> None:
        self.root, self.namespace = root, namespace

    def __call__(self, *arguments: str) -> str:
        """Return what a command prints; one that fails is an InputError with its last line."""
        done = self.run(*arguments)
        if done.returncode:
            raise InputError(f"kubectl {arguments[0]}: {last_line(done.stderr)}")
        return done.stdout

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command that may fail."""
        try:
            return processes.run(["kubectl", f"--namespace={self.namespace}", *arguments], self.root)
        except FileNotFoundError:
            raise InputError(MISSING) from None

    def get(self, kind: str, *arguments: str) -> Any:
        """Return an object, or with a selector a list of them; None if there is none."""
        text = self("get", kind, *arguments, "--output=json", "--ignore-not-found")
        return json.loads(text) if text.strip() else None

    def send(self, verb: str, manifests: list[Any], *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command that takes manifests, and may fail."""
        with scratch("deploy") as work:
            (work / "manifests.yaml").write_text(yaml.safe_dump_all(manifests), encoding="utf-8")
            return self.run(verb, *arguments, f"--filename={work / 'manifests.yaml'}")

    @contextmanager
    def forward(self, target: str, port: int) -> Iterator[str | None]:
        """Forward a free port of this machine to a port of a pod; yield the URL, or None if that fails."""
        command = [
            "kubectl",
            f"--namespace={self.namespace}",
            "port-forward",
            "--address=127.0.0.1",
            target,
            f":{port}",
        ]
        with processes.started(command, self.root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout is not None
            found = FORWARDING.search(process.stdout.readline())
            yield f"http://127.0.0.1:{found[1]}" if found else None


def last_line(text: str) -> str:
    """Return the last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:500] if lines else "it failed and said nothing"
