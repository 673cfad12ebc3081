"""What a command asks of a tracker, by a process of its own.

A tracker's client takes seconds to import, may hang, and is not ours. So it runs in a process beside the command, which
starts it early, waits for it within a limit, and ends it.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mlcicd.core import params
from mlcicd.core.errors import InputError
from mlcicd.core.params import Tracking
from mlcicd.integrations.trackers import KINDS, Kind, Release, Sent, hidden
from mlcicd.rendering.blocks import Links
from mlcicd.system.outputs import warn
from mlcicd.system.processes import started
from mlcicd.system.scratch import scratch

VARIABLE = "ML_TRACKING"
OFF, PARENT = "off", "parent"  # its values: nothing is sent; or the command that started this one sends it
PATIENCE = 0.01  # seconds between two looks for an answer, or a job
LOG = "log"
LIMIT = 30.0  # seconds that a command waits for a tracker


class Outbox:
    """What a command asks of the project's tracker. Without one, everything answers None."""

    def __init__(
        self,
        settings: Tracking | None = None,
        folder: Path | None = None,
        process: subprocess.Popen[str] | None = None,
    ) -> None:
        self._settings, self._folder, self._process, self._problem = settings, folder, process, ""

    @property
    def on(self) -> bool:
        """Whether there is a tracker that can be asked."""
        return self._folder is not None

    @property
    def title(self) -> str:
        """The tracker's name for people."""
        return KINDS[self._settings.to].title if self._settings else ""

    @property
    def address(self) -> str:
        """Where the tracker's pages are, for a browser; empty if that is not known."""
        return KINDS[self._settings.to].address() if self._settings else ""

    def log(self, run: Path, limit: float | None = LIMIT) -> Sent | None:
        """Send a run."""
        answer = self._ask({"do": "log", "run": str(run)}, f"{run} was not sent; 'ml track {run}' sends it", limit)
        return Sent(*answer["sent"]) if answer else None

    def review(self, folder: Path) -> Links | None:
        """Send a review and its runs; return where their pages are."""
        answer = self._ask({"do": "review", "folder": str(folder)}, "this review was not sent", LIMIT)
        return Links(f"In {self.title}", dict(answer["pages"])) if answer and answer["pages"] else None

    def drift(self, run: Path, found: dict[str, Any]) -> None:
        """Tag a run with what has become of the data since."""
        tags = {"drift": str(found["verdict"]), "drift_moved": ", ".join(found["moved"])}
        self._ask({"do": "tag", "run": str(run), "tags": tags}, f"{run} was not tagged with the drift", LIMIT)

    def register(self, run: Path, release: Release) -> str | None:
        """Send a run and make it a version in the registry; return the version's name."""
        job = {"do": "register", "run": str(run), "release": list(release)}
        answer = self._ask(job, f"{run} was not registered; 'ml track {run} --release {release.tag}' does", None)
        return str(answer["version"]) if answer else None

    def check(self, run: Path) -> str | None:
        """Return what is wrong with the version that was registered of a run, if anything; None: nobody was asked."""
        answer = self._ask({"do": "check", "run": str(run)}, "the registry was not asked", LIMIT)
        return str(answer["problem"]) if answer else None

    def _ask(self, job: dict[str, Any], lost: str, limit: float | None) -> dict[str, Any] | None:
        if self._settings is None or self._folder is None or self._process is None:
            return None
        answer = {"error": self._problem} if self._problem else self._answer(self._folder, self._process, job, limit)
        if "error" not in answer:
            return answer
        said = f"{self.title}: {hidden(answer['error'])}; {lost}"
        if self._settings.required:
            raise InputError(said)
        warn(said)
        return None

    def _answer(
        self, folder: Path, process: subprocess.Popen[str], job: dict[str, Any], limit: float | None
    ) -> dict[str, Any]:
        answer = folder / "answer.json"
        answer.unlink(missing_ok=True)
        put(folder / "job.json", job)
        end = time.monotonic() + (limit or math.inf)
        while time.monotonic() < end and process.poll() is None and not answer.is_file():
            time.sleep(PATIENCE)
        if answer.is_file():
            return dict(json.loads(answer.read_text(encoding="utf-8")))
        # It may still hang in this question: there is no other.
        log = (folder / LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        ended = f"its client ended: {log[-1] if log else 'it said nothing'}"
        self._problem = f"no answer within {limit:g} seconds" if limit and process.poll() is None else ended
        return {"error": self._problem}


@contextmanager
def opened(root: Path, settings: Tracking | None = None, always: bool = False) -> Iterator[Outbox]:
    """Start the process that talks to the project's tracker, if params.yaml names one; end it after the block.

    Commands that this one starts meanwhile leave it to send what they make.

    Parameters
    ----------
    settings : the tracker; by default the one of the project's params.yaml
    always : whether what cannot be sent is an error, whatever params.yaml says

    Raises
    ------
    InputError
        The tracker is required, and the environment does not say how to reach it.
    """
    settings = settings or _settings(root, always)
    if always and settings is None:
        raise InputError("params.yaml: names no tracker; add 'tracking: {to: mlflow}' or 'tracking: {to: wandb}'")
    if always and settings:
        settings = settings.model_copy(update={"required": True})
    told = os.environ.get(VARIABLE, "")
    os.environ[VARIABLE] = PARENT
    try:
        if settings is None or told == PARENT:
            yield Outbox()
            return
        kind = KINDS[settings.to]
        if problem := _hindered(kind, settings, told):
            if settings.required and (always or told != OFF):
                raise InputError(f"{kind.title}: {problem}")
            print(f"note: {kind.title}: {problem}; nothing is sent", file=sys.stderr)
            yield Outbox()
            return
        with scratch("track") as folder:
            command = [sys.executable, "-m", "mlcicd.integrations.sender", settings.to, _experiment(settings, root)]
            with (
                (folder / LOG).open("w", encoding="utf-8") as log,
                started([*command, str(folder)], root, stdout=log, stderr=log, grace=1.0) as process,
            ):
                yield Outbox(settings, folder, process)
    finally:
        os.environ.pop(VARIABLE)
        if told:
            os.environ[VARIABLE] = told


def _settings(root: Path, always: bool) -> Tracking | None:
    """What params.yaml says; of a broken file, the command itself tells what is wrong with it."""
    try:
        return params.load(root / "params.yaml").tracking
    except InputError:
        if always:
            raise
        return None


def _hindered(kind: Kind, settings: Tracking, told: str) -> str:
    if told:
        return f"{VARIABLE}={told}"
    if find_spec(kind.package) is None:
        return f"its client is not installed; 'uv sync --group {settings.to}' brings it"
    return kind.missing()


def _experiment(settings: Tracking, root: Path) -> str:
    return settings.experiment or root.resolve().name


def put(path: Path, content: dict[str, Any]) -> None:
    """Write a file that another process waits for: whole, or not at all."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content), encoding="utf-8")
    part.replace(path)
