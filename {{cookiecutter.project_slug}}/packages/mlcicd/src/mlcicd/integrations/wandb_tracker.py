"""Weights & Biases: runs, artifacts and their aliases, through its client ``wandb``.

A run's id is made of its key, so that whoever sends it again continues the same run. With ``WANDB_MODE=offline`` a run
is kept in ``runs/wandb/`` as wandb keeps it, and ``wandb sync`` sends it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from mlcicd.core.errors import InputError
from mlcicd.integrations.records import Record
from mlcicd.integrations.trackers import CHAMPION, PREVIOUS, Release, Sent, settle
from mlcicd.training.run import sha256

SETTINGS = {
    "WANDB_SILENT": "true",
    "WANDB_CONSOLE": "off",
    "WANDB_DISABLE_GIT": "true",
    "WANDB_DISABLE_CODE": "true",
    "WANDB_DIR": "runs",
}
NAME = re.compile(r"[^A-Za-z0-9_.-]")
WHOLE = "sent"  # in a run's summary, once all of it is there
ABSENT = re.compile(r"(?i)not find|not found|does not exist|no such")
ID = 32  # characters of a key; wandb takes 64


class Wandb:
    """Sends runs to a project of Weights & Biases; a release is a version of its model artifact, with aliases."""

    def __init__(self, experiment: str) -> None:
        settle(SETTINGS, "WANDB_")
        Path(os.environ["WANDB_DIR"]).mkdir(parents=True, exist_ok=True)
        import wandb

        self._wandb, self._project = wandb, NAME.sub("-", experiment)[:128]

    def find(self, key: str) -> Sent | None:
        """Return the run of this key, if the server has it; offline, nobody knows."""
        if self._offline:
            return None
        found = self._asked(lambda api: api.run(f"{self._project}/{key[:ID]}"))
        return self._sent(found) if found else None

    def send(self, record: Record, parent: str | None = None) -> Sent:
        """Send a run; what is there already is replaced by the same."""
        with self._started(record.key, record, parent) as run:
            # What another sending has logged up to its last step, wandb drops by itself.
            for step, row in enumerate(_by_fold(record), start=1):
                run.log(row, step=step)
            pictures = {name: path for name, path in record.files.items() if name.endswith(".png")}
            if pictures and not run.summary.get(WHOLE):
                run.log({name.removesuffix(".png"): self._wandb.Image(str(p)) for name, p in pictures.items()})
            run.summary.update(record.metrics | {WHOLE: True})
            run.log_artifact(self._artifact(f"run-{record.key[:12]}", "run", record.files))
            return self._sent(run)

    def tag(self, run: str, tags: dict[str, str]) -> None:
        """Set tags of a run, which are part of its configuration."""
        with self._started(run) as opened:
            opened.config.update({"tags": {**dict(opened.config.get("tags", {})), **tags}}, allow_val_change=True)

    def register(self, record: Record, release: Release) -> str:
        """Log the model as a version of the project's model artifact, and move the aliases if it is the champion."""
        if self._offline:
            raise InputError("a release is registered online; WANDB_MODE is offline")
        assert record.run is not None
        self.send(record)
        former = self._champion() if release.champion else None
        names = {name: path for name, path in record.files.items() if name.startswith("run/")}
        told = {"release": release.tag, "image": release.image, "verdict": release.verdict, "key": record.key}
        with self._started(record.key) as run:
            artifact = self._artifact(self._model, "model", names, told)
            aliases = [NAME.sub("-", release.tag), *([CHAMPION] if release.champion else [])]
            logged = run.log_artifact(artifact, aliases=aliases).wait()
            version = str(logged.version)
        if former is not None and former.version != version:
            former.aliases.append(PREVIOUS)
            former.save()
        return f"{self._model} version {version}"

    def check(self, key: str, files: dict[str, str], target: Path) -> str:
        """Return what is wrong with the version of this key: it is gone, or its files are others."""
        known = self._asked(lambda api: list(api.artifacts("model", f"{self._project}/{self._model}")))
        found = next((artifact for artifact in known or [] if artifact.metadata.get("key") == key), None)
        if found is None:
            return f"no version of {self._model} was registered of this run, or it was deleted"
        folder = Path(found.download(str(target), skip_cache=True))
        for name, digest in files.items():
            actual = sha256(folder / "run" / name)
            if actual != digest:
                gone = "is gone" if actual is None else "is not what the manifest says"
                return f"{self._model} version {found.version}: {name} {gone}"
        return ""

    @property
    def _offline(self) -> bool:
        return os.environ.get("WANDB_MODE") == "offline"

    @property
    def _model(self) -> str:
        return f"{self._project}-model"

    def _champion(self) -> Any:
        return self._asked(lambda api: api.artifact(f"{self._project}/{self._model}:{CHAMPION}"))

    def _asked(self, question: Callable[[Any], Any]) -> Any:
        """Ask the server; None where it does not know what is asked for, which its client tells by words alone."""
        try:
            return question(self._wandb.Api())
        except (self._wandb.errors.CommError, ValueError) as error:
            if ABSENT.search(str(error)):
                return None
            raise

    def _started(self, key: str, record: Record | None = None, parent: str | None = None) -> Any:
        """Begin a run, or continue it."""
        more: dict[str, Any] = {}
        if record:
            more = {"name": record.name, "group": (parent or record.key)[:ID], "config": _config(record, parent)}
        return self._wandb.init(project=self._project, id=key[:ID], resume="allow", **more)

    def _artifact(self, name: str, kind: str, files: dict[str, Path], told: dict[str, str] | None = None) -> Any:
        artifact = self._wandb.Artifact(name, kind, metadata=told)
        for inside, path in files.items():
            artifact.add_file(str(path), inside)
        return artifact

    def _sent(self, run: Any) -> Sent:
        return Sent(str(run.id), "" if self._offline else urlparse(str(run.url)).path.lstrip("/"))


def _by_fold(record: Record) -> list[dict[str, float]]:
    """Return the metrics of each fold that it can tell."""
    folds = range(max(map(len, record.folds.values()), default=0))
    measured = ({f"fold/{name}": values[fold] for name, values in record.folds.items()} for fold in folds)
    return [{name: value for name, value in row.items() if value is not None} for row in measured]


def _config(record: Record, parent: str | None) -> dict[str, Any]:
    """What wandb shows beside a run: parameters as they are, and tags and inputs in a group of their own."""
    told = record.tags | ({"review": parent} if parent else {})
    return {**record.params, "tags": told, "inputs": record.inputs}
