"""MLflow: runs, artifacts and the model registry, through its light client ``mlflow-skinny``."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mlcicd.core.errors import InputError
from mlcicd.integrations import mlflow_model
from mlcicd.integrations.records import KEY, Record
from mlcicd.integrations.trackers import CHAMPION, PREVIOUS, Release, Sent, settle
from mlcicd.training.run import MODEL, sha256

# A server that fails is asked twice, not for minutes; whoever sets these knows better.
SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
KEYS, VALUES, TAGS = 250, 6000, 5000  # characters that MLflow takes
BATCH = 100  # parameters or tags in a request; 1,000 metrics
FORBIDDEN = re.compile(r"[^\w\-. /:]")
EXISTS = "RESOURCE_ALREADY_EXISTS"
Item = TypeVar("Item")


class Mlflow:
    """Sends runs to an experiment of the server that MLFLOW_TRACKING_URI names, and releases to its registry."""

    def __init__(self, experiment: str) -> None:
        settle(SETTINGS, "MLFLOW_")
        from mlflow import MlflowClient

        self._client, self._name = MlflowClient(), experiment
        self._found: str | None = None

    @property
    def _experiment(self) -> str:
        """The id of the experiment, which is made if it is not there."""
        if self._found is None:
            from mlflow.exceptions import MlflowException

            found = self._client.get_experiment_by_name(self._name)
            if found is None:
                try:
                    self._client.create_experiment(self._name)
                except MlflowException as error:
                    if error.error_code != EXISTS:  # made by another process meanwhile
                        raise
                found = self._client.get_experiment_by_name(self._name)
            if found.lifecycle_stage != "active":
                raise InputError(
                    f"the experiment {self._name!r} is deleted; restore it there, or name another in params.yaml"
                )
            self._found = str(found.experiment_id)
        return self._found

    def find(self, key: str) -> Sent | None:
        """Return the run of this key."""
        found = self._search(key)
        return self._sent(found) if found else None

    def send(self, record: Record, parent: str | None = None) -> Sent:
        """Send a run, or what is missing of it: what MLflow has already is the same, and stays."""
        from mlflow.entities import Metric, Param, RunTag

        found = self._search(record.key)
        if found and found.info.status == "FINISHED":
            return self._sent(found)
        at = int(record.at.timestamp() * 1000)
        if not found:
            first = {KEY: record.key} | ({"mlflow.parentRunId": parent} if parent else {})
            found = self._client.create_run(self._experiment, at, first, record.name)
        run = found.info.run_id
        tags = record.tags | {"mlflow.source.name": "ml", "mlflow.source.type": "JOB"}
        if "commit" in record.tags:
            tags["mlflow.source.git.commit"] = record.tags["commit"]
        metrics = [Metric(_key(name), value, at, 0) for name, value in record.metrics.items()]
        metrics += [
            Metric(_key(f"fold_{name}"), value, at, number)
            for name, values in record.folds.items()
            for number, value in enumerate(values, start=1)
            if value is not None
        ]
        for tag in _parts([RunTag(_key(name), value[:TAGS]) for name, value in tags.items()], BATCH):
            self._client.log_batch(run, tags=tag)
        for some in _parts([Param(_key(name), str(value)[:VALUES]) for name, value in record.params.items()], BATCH):
            self._client.log_batch(run, params=some)
        for measured in _parts(metrics, 10 * BATCH):
            self._client.log_batch(run, metrics=measured)
        if record.inputs:
            self._client.log_inputs(run, [_dataset(name, digest) for name, digest in record.inputs.items()])
        for name, path in record.files.items():
            self._client.log_artifact(run, str(path), name.rpartition("/")[0] or None)
        if record.run:
            with tempfile.TemporaryDirectory() as folder:
                mlflow_model.write(record.run, Path(folder), run)
                self._client.log_artifacts(run, folder, "model")
        self._client.set_terminated(run, "FINISHED", at)
        return self._sent(found)

    def tag(self, run: str, tags: dict[str, str]) -> None:
        """Set tags of a run."""
        for name, value in tags.items():
            self._client.set_tag(run, _key(name), value[:TAGS])

    def register(self, record: Record, release: Release) -> str:
        """Make the run a version of the registered model, and move the aliases if it is the champion."""
        from mlflow.exceptions import MlflowException

        sent, name = self.send(record), self._model
        if release.pull_request and (review := self._review(release.pull_request)):
            self.tag(sent.id, {"mlflow.parentRunId": review, "pull_request": release.pull_request})
        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != EXISTS:
                raise
        told = {"release": release.tag, "image": release.image, "verdict": release.verdict, **_commit(record)}
        told = {key: value[:TAGS] for key, value in told.items() if value} | {KEY: record.key}
        version = next((v for v in self._versions(record.key) if v.tags.get("release") == release.tag), None)
        if version is None:
            version = self._client.create_model_version(name, f"runs:/{sent.id}/model", sent.id, told)
        else:
            for key, value in told.items():
                self._client.set_model_version_tag(name, version.version, key, value)
        if release.champion:
            self._promote(str(version.version))
        return f"{name} version {version.version}"

    def check(self, key: str, files: dict[str, str], target: Path) -> str:
        """Return what is wrong with the version of this key: it is gone, or its files are others."""
        from mlflow.exceptions import MlflowException

        versions = self._versions(key)
        if not versions:
            return f"no version of {self._model} was registered of this run, or it was deleted"
        version = versions[-1]
        named, run = f"{self._model} version {version.version}", version.run_id
        if version.source != f"runs:/{run}/model":
            return f"{named} has another source: {version.source}"
        target.mkdir(exist_ok=True)
        expected = {f"run/{name}": digest for name, digest in files.items()}
        if MODEL in files:
            expected[f"model/{MODEL}"] = files[MODEL]
        for name, digest in expected.items():
            try:
                path = Path(self._client.download_artifacts(run, name, str(target)))
            except (MlflowException, OSError):
                return f"{named}: {name} is gone"
            if sha256(path) != digest:
                return f"{named}: {name} is not what the manifest says"
        return ""

    @property
    def _model(self) -> str:
        """The name of the registered model; the registry takes no slashes and colons."""
        return re.sub(r"[/:]", "-", self._name)

    def _versions(self, key: str) -> list[Any]:
        found = self._client.search_model_versions(f"name = '{_quoted(self._model)}'")
        return sorted((v for v in found if v.tags.get(KEY) == key), key=lambda v: int(v.version))

    def _promote(self, version: str) -> None:
        """Move the aliases; who was champion becomes the previous one."""
        from mlflow.exceptions import MlflowException

        try:
            former = str(self._client.get_model_version_by_alias(self._model, CHAMPION).version)
        except MlflowException:  # nobody was
            former = version
        if former != version:
            self._client.set_registered_model_alias(self._model, PREVIOUS, former)
        self._client.set_registered_model_alias(self._model, CHAMPION, version)
        now = str(self._client.get_model_version_by_alias(self._model, CHAMPION).version)
        if now != version:
            raise InputError(f"somebody else made version {now} of {self._model} the {CHAMPION} meanwhile; see there")

    def _review(self, number: str) -> str | None:
        """Return the id of the last review of a pull request."""
        asked = f"tags.`pull_request` = '{_quoted(number)}' AND tags.`passed` LIKE '%'"
        found = self._client.search_runs([self._experiment], asked, order_by=["attributes.start_time DESC"])
        return str(found[0].info.run_id) if found else None

    def _search(self, key: str) -> Any:
        """Return the run of a key; of two that were begun at the same moment, the finished or else the older one."""
        found = self._client.search_runs(
            [self._experiment], f"tags.`{KEY}` = '{key}'", order_by=["attributes.start_time"]
        )
        return next((run for run in found if run.info.status == "FINISHED"), found[0] if found else None)

    def _sent(self, run: Any) -> Sent:
        return Sent(run.info.run_id, f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}")


def _commit(record: Record) -> dict[str, str]:
    return {"commit": record.tags["commit"]} if "commit" in record.tags else {}


def _key(name: str) -> str:
    """Return a name that MLflow takes: without special characters, and not too long."""
    plain = FORBIDDEN.sub("_", name).strip("/") or "_"
    if len(plain) <= KEYS:
        return plain
    return f"{plain[: KEYS - 9]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _quoted(text: str) -> str:
    return text.replace("'", "\\'")


def _parts(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _dataset(name: str, digest: str) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps({"uri": name, "sha256": digest})
    # MLflow takes 36 characters of a digest; the source has all of them.
    dataset = Dataset(name=name[:500], digest=digest[:36], source_type="local", source=source)
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])
