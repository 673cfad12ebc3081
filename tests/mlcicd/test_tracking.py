"""Runs, reviews and releases in a tracker: a real MLflow server, the real client of Weights & Biases."""

from __future__ import annotations

import base64
import http.client
import json
import math
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import mlflow_server
import numpy as np
import pandas as pd
import pytest
import wandb
import wandb_api
from hypothesis import given
from hypothesis import strategies as st
from mlcicd.core.errors import InputError
from mlcicd.core.params import Tracking
from mlcicd.integrations import mlflow_tracker, sender
from mlcicd.integrations.mlflow_tracker import Mlflow
from mlcicd.integrations.outbox import opened
from mlcicd.integrations.records import KEY, Record, key_of, of_review, of_run
from mlcicd.integrations.trackers import Release, release
from mlcicd.integrations.wandb_tracker import Wandb
from mlcicd.rendering import html, markdown, review_json
from mlcicd.rendering.blocks import Links, Report
from mlcicd.training import model_io
from mlcicd.training.run import sha256
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from stand_in import Handler
from test_report import logistic, made

SECRET = "s3cret-t0ken"
KEY_OF_WANDB = f"local-{'0' * 40}"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
MLFLOW = Tracking(to="mlflow", experiment="shop")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real MLflow server, in an environment of its own."""
    with mlflow_server.started(tmp_path_factory.mktemp("mlflow")) as address:
        yield address


class Faulty(ThreadingHTTPServer):
    """Hands requests on to a server until it is told to fail: after so many requests, and in which way."""

    def __init__(self, address: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target, self.left, self.fault = address.removeprefix("http://"), math.inf, "gone"
        self.release = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: object) -> None:
        """Say nothing of connections that were cut."""


class _Handler(Handler):
    server: Faulty

    def _any(self) -> None:
        body = self.body()
        self.server.left -= 1
        if self.server.left < 0:
            return self._fail()
        connection = http.client.HTTPConnection(self.server.target, timeout=60)
        own = ("host", "transfer-encoding")
        headers = {name: value for name, value in self.headers.items() if name.lower() not in own}
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        self.answer(answer.status, content, answer.headers.get("Content-Type", "text/plain"))
        connection.close()
        return None

    def _fail(self) -> None:
        if self.server.fault == "hangs":
            self.server.release.wait(120)
        if self.server.fault in ("gone", "hangs"):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        status = int(self.server.fault)
        self.answer(status, json.dumps({"error_code": "X", "message": f"no, {SECRET}"}).encode(), "application/json")

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815 - the names of http.server


@pytest.fixture
def faulty(server: str) -> Iterator[Faulty]:
    proxy = Faulty(server)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    yield proxy
    proxy.release.set()
    proxy.shutdown()
    proxy.server_close()


@pytest.fixture
def here(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The server by the variable that users set, from a folder that is theirs."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true")
    monkeypatch.chdir(tmp_path)
    return server


def trained(folder: Path, seed: int = 0) -> Path:
    """A run with a model that predicts."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"a": rng.normal(size=200), "b": rng.integers(0, 9, 200)})
    y = (rng.random(200) < logistic(frame["a"])).astype(int)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, y)
    path = made(folder, frame, y, model.predict_proba(frame)[:, 1], params={"model": {"depth": 3}}).path
    model_io.save(model, path / "model.skops")
    (path / "plots").mkdir()
    (path / "plots" / "roc.png").write_bytes(base64.b64decode(PIXEL))
    metrics = json.loads((path / "metrics.json").read_text())
    metrics |= {"cross_validation": {"roc_auc": [0.7, None, 0.9]}}
    metrics["holdout"]["log_loss"] = {"value": 0.5, "low": math.nan, "high": math.nan}
    (path / "metrics.json").write_text(json.dumps(metrics))
    manifest = json.loads((path / "manifest.json").read_text())
    packages = dict.fromkeys(("scikit-learn", "skops", "pandas"), "1.0")
    manifest |= {"libraries": packages, "packages": packages, "trained_at": "2026-11-28T10:30:00+00:00"}
    manifest |= {"commit": "ab" * 20, "data": {"data/a.csv": "0" * 64}, "python": "3.11.9"}
    names = ("model.skops", "metrics.json", "contract.yaml", "params.yaml", "holdout.parquet")
    manifest["files"] = {name: sha256(path / name) for name in names}
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return trained(tmp_path / "runs" / "model")


def client(address: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(address)


# What arrives


@pytest.mark.slow
def test_all_of_a_run_is_read_back_and_its_model_predicts_the_same(here, run, request):
    import mlflow.pyfunc
    import mlflow.sklearn

    tracker = Mlflow(request.node.name)
    sent = tracker.send(of_run(run, Path()))
    api = client(here)
    found = api.get_run(sent.id)
    assert sent.path == f"#/experiments/{found.info.experiment_id}/runs/{sent.id}"
    assert found.info.status == "FINISHED"
    assert found.info.start_time == datetime(2026, 11, 28, 10, 30, tzinfo=UTC).timestamp() * 1000
    assert found.data.params["model.depth"] == "3"
    assert found.data.params["gates.roc_auc.margin"] == "0.005"
    measured = {name: found.data.metrics[name] for name in ("roc_auc", "roc_auc_low", "roc_auc_high", "log_loss")}
    assert measured == {"roc_auc": 0.8, "roc_auc_low": 0.7, "roc_auc_high": 0.9, "log_loss": 0.5}
    assert "log_loss_low" not in found.data.metrics, "NaN is not known, and is not sent"
    folds = api.get_metric_history(sent.id, "fold_roc_auc")
    assert [(fold.step, fold.value) for fold in folds] == [(1, 0.7), (3, 0.9)]
    assert found.data.tags["commit"] == found.data.tags["mlflow.source.git.commit"] == "ab" * 20
    assert found.data.tags[KEY] == key_of(run)
    assert [one.dataset.name for one in found.inputs.dataset_inputs] == ["data/a.csv"]
    names = {file.path for folder in ("run", "plots", "model") for file in api.list_artifacts(sent.id, folder)}
    assert {"run/manifest.json", "run/model.skops", "plots/roc.png", "model/MLmodel", "model/code"} <= names

    frame = pd.read_parquet(run / "holdout.parquet").drop(columns="row")
    loaded = mlflow.sklearn.load_model(f"runs:/{sent.id}/model")
    expected = model_io.load(run / "model.skops")
    assert np.array_equal(loaded.predict_proba(frame), expected.predict_proba(frame))
    general = mlflow.pyfunc.load_model(f"runs:/{sent.id}/model")
    assert np.array_equal(general.predict(frame), expected.predict(frame))
    assert [column.name for column in general.metadata.signature.inputs] == ["a", "b"]
    assert list(general.input_example.columns) == ["a", "b"]


@pytest.mark.slow
def test_wherever_sending_is_cut_off_it_is_completed_without_doubles(here, faulty, run, request, monkeypatch):
    record, name = of_run(run, Path()), request.node.name
    whole = Mlflow(name).send(record)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", faulty.address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    points, complete = range(0, 40, 3), 0
    for point in points:
        again = replace(record, key=f"{point:064x}")
        faulty.left = point
        try:
            Mlflow(name).send(again)
            complete += 1
        except Exception as error:
            assert "127.0.0.1" in str(error) or "Connection" in str(error), error
        faulty.left = math.inf
        Mlflow(name).send(again)
    assert 0 < complete < len(points), "some points lie within the sending, and some behind it"
    api = client(here)
    runs = api.search_runs([api.get_experiment_by_name(name).experiment_id])
    assert len(runs) == len({found.data.tags[KEY] for found in runs}) == len(points) + 1
    expected = api.get_run(whole.id)
    for found in runs:
        assert found.info.status == "FINISHED"
        assert (found.data.params, found.data.metrics) == (expected.data.params, expected.data.metrics)
        assert len(api.get_metric_history(found.info.run_id, "fold_roc_auc")) == 2
        assert len(found.inputs.dataset_inputs) == 1
        assert api.list_artifacts(found.info.run_id, "model")


@pytest.mark.slow
def test_a_review_is_the_parent_of_its_runs_and_main_keeps_its_own(here, tmp_path, request):
    folder = tmp_path / "review"
    for side, seed in (("candidate", 1), ("baseline", 2)):
        trained(folder / side, seed)
    result = {"baseline": 0.7, "candidate": 0.8, "difference": 0.1, "low": 0.05, "high": 0.15}
    comparison = {"verdict": "better", "passed": True, "reason": "it is better", "metrics": {"roc_auc": result}}
    (folder / "comparison.json").write_text(json.dumps(comparison))
    tracker = Mlflow(request.node.name)
    main = tracker.send(of_run(folder / "baseline", Path()))
    pages = sender.review(tracker, folder)
    assert pages == sender.review(tracker, folder), "a review that is sent again is the same"
    assert list(pages) == ["main", "this branch", "this review"]
    api = client(here)
    review, branch = (api.get_run(pages[name].rpartition("/")[2]) for name in ("this review", "this branch"))
    assert (review.data.tags["verdict"], review.data.tags["passed"]) == ("better", "true")
    assert review.data.metrics["roc_auc_difference"] == 0.1
    assert branch.data.tags["mlflow.parentRunId"] == review.info.run_id
    assert (branch.data.tags["verdict"], branch.data.tags["review"]) == ("better", review.info.run_id)
    assert (review.data.tags["candidate"], review.data.tags["baseline"]) == (branch.info.run_id, main.id)
    assert "mlflow.parentRunId" not in api.get_run(main.id).data.tags


@pytest.mark.slow
def test_a_release_is_a_child_of_the_last_review_of_its_pull_request(here, tmp_path, request):
    tracker, reviews = Mlflow(request.node.name), []
    for number, verdict in enumerate(("worse", "better")):
        folder = tmp_path / verdict
        trained(folder / "candidate", number)
        (folder / "comparison.json").write_text(json.dumps({"verdict": verdict, "passed": True, "metrics": {}}))
        record = of_review(folder)
        at = record.at + timedelta(seconds=number)
        reviews.append(tracker.send(replace(record, tags=record.tags | {"pull_request": "#12"}, at=at)).id)
    run = trained(tmp_path / "model", 3)
    (run / "release.json").write_text(json.dumps({"review": "better ✅", "pull_request": 12}))
    told = release(run, "model-1", "host/image@sha256:1", True)
    assert told == Release("model-1", "host/image@sha256:1", "better ✅", True, "#12")
    tracker.register(of_run(run, Path()), told)
    found = client(here).get_run(tracker.find(key_of(run)).id)
    assert found.data.tags["mlflow.parentRunId"] == reviews[1]
    other = trained(tmp_path / "other", 4)
    tracker.register(of_run(other, Path()), Release("model-2", "", "", True, "#13"))
    assert "mlflow.parentRunId" not in client(here).get_run(tracker.find(key_of(other)).id).data.tags


# The registry


@pytest.mark.slow
def test_a_release_is_the_champion_and_the_audit_follows_it(here, tmp_path, request):
    import mlflow.sklearn

    name = request.node.name
    tracker, api = Mlflow(name), client(here)
    first, second = (trained(tmp_path / part, seed) for part, seed in (("a", 1), ("b", 2)))
    one, two = (of_run(path, Path()) for path in (first, second))
    alias = lambda word: api.get_model_version_by_alias(name, word).version  # noqa: E731
    assert tracker.register(one, Release("model-1", "host/image@sha256:1", "better ✅", True)) == f"{name} version 1"
    assert tracker.register(two, Release("model-2", "", "", True)) == f"{name} version 2"
    assert (alias("champion"), alias("previous")) == ("2", "1")
    version = api.get_model_version(name, "1")
    assert (version.tags["release"], version.tags["image"], version.tags["verdict"]) == (
        "model-1",
        "host/image@sha256:1",
        "better ✅",
    )
    # An older release that runs again takes no alias; going back to it does, and makes no other version.
    assert tracker.register(one, Release("model-1", "host/image@sha256:1", "", False)).endswith("version 1")
    assert (alias("champion"), alias("previous")) == ("2", "1")
    assert tracker.register(one, Release("model-1", "", "", True)).endswith("version 1")
    assert (alias("champion"), alias("previous")) == ("1", "2")
    frame = pd.read_parquet(first / "holdout.parquet").drop(columns="row")
    loaded = mlflow.sklearn.load_model(f"models:/{name}@champion")
    assert np.array_equal(loaded.predict_proba(frame), model_io.load(first / "model.skops").predict_proba(frame))

    files = json.loads((first / "manifest.json").read_text())["files"]
    check = lambda key=one.key: tracker.check(key, files, tmp_path / "found")  # noqa: E731
    assert check() == ""
    shutil.rmtree(tmp_path / "found")
    (tmp_path / "model.skops").write_bytes(b"another model")
    sent = tracker.find(one.key)
    api.log_artifact(sent.id, str(tmp_path / "model.skops"), "model")
    assert check() == f"{name} version 1: model/model.skops is not what the manifest says"
    api.delete_model_version(name, "1")
    assert check() == f"no version of {name} was registered of this run, or it was deleted"
    assert "was registered" in check("0" * 64)


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_a_champion_that_somebody_moves_meanwhile_is_said(tmp_path, request, monkeypatch):
    name = request.node.name
    tracker = Mlflow(name)
    for number in (1, 2):
        tracker.register(of_run(trained(tmp_path / str(number), number), Path()), Release(f"m-{number}", "", "", True))
    true = tracker._client.set_registered_model_alias

    def moved(model: str, alias: str, version: str) -> None:
        true(model, alias, version)
        if alias == "champion":
            true(model, alias, "2")

    monkeypatch.setattr(tracker._client, "set_registered_model_alias", moved)
    with pytest.raises(InputError, match=r"somebody else made version 2 of .* the champion meanwhile"):
        tracker.register(of_run(tmp_path / "1", Path()), Release("m-1", "", "", True))


@pytest.mark.slow
def test_what_became_of_the_data_is_a_tag_of_the_run(here, run, tmp_path, capfd):
    with opened(tmp_path, Tracking(to="mlflow", experiment="drift")) as tracker:
        sent = tracker.log(run, None)
        tracker.drift(run, {"verdict": "stable", "moved": []})
        tracker.drift(run, {"verdict": "drift", "moved": ["a", "b"]})
    assert capfd.readouterr().err == ""
    tags = client(here).get_run(sent.id).data.tags
    assert (tags["drift"], tags["drift_moved"]) == ("drift", "a, b")


# What a tracker cannot take


@pytest.mark.slow
def test_names_and_values_that_mlflow_refuses_are_sent_in_a_form_that_it_takes(here, request):
    long = "x" * 300
    record = Record(
        "1" * 64,
        "a run",
        datetime.now(UTC),
        {"a\nb=ü#": "v" * 7000, long: 1, "mlflow.runName": "a column"},
        {"ROC AUC (weighted) %": 0.5, f"{long}y": 2.0},
        {long: [0.1, 0.2]},
        {"reason": "r" * 9000, "mlflow": "a column"},
        {f"data/{long * 3}.csv": "0" * 64},
    )
    sent = Mlflow(request.node.name).send(record)
    found = client(here).get_run(sent.id)
    assert found.info.run_name == "a run"
    assert found.data.params["mlflow.runName"] == "a column"
    assert len(found.data.params) == 3
    assert len(found.data.metrics) == 3
    assert found.data.tags["reason"].startswith("rrr")


@pytest.mark.slow
def test_a_large_file_is_sent(here, tmp_path, request):
    large = tmp_path / "large.parquet"
    with large.open("wb") as file:
        file.truncate(100_000_000)
    record = Record("2" * 64, "large", datetime.now(UTC), files={"run/large.parquet": large})
    sent = Mlflow(request.node.name).send(record)
    [found] = client(here).list_artifacts(sent.id, "run")
    assert (found.path, found.file_size) == ("run/large.parquet", 100_000_000)


IN_A_FILE = """
import os
from pathlib import Path
from mlcicd.core.params import Tracking
from mlcicd.integrations.outbox import opened

with opened(Path(), Tracking(to="mlflow", experiment="shop")) as tracker:
    sent = tracker.log(Path("runs/model"), None)
from mlflow import MlflowClient
found = MlflowClient().get_run(sent.id)
print(found.info.status, found.data.metrics["roc_auc"], len(MlflowClient().list_artifacts(sent.id, "model")) > 3)
"""


@pytest.mark.slow
def test_without_a_server_runs_are_kept_in_a_file(run, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    # The whole of MLflow, as the page says: its light client has no database.
    command = ["uv", "run", "--quiet", "--project", str(Path(__file__).parent), "--with", "mlflow>=3.4", "python"]
    done = subprocess.run([*command, "-c", IN_A_FILE], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split()[-3:] == ["FINISHED", "0.8", "True"], done.stdout + done.stderr
    assert run.is_dir() and (tmp_path / "mlflow.db").is_file()


@given(st.text(max_size=600))
def test_every_name_becomes_one_that_mlflow_takes(name: str):
    from mlflow.utils.validation import _validate_metric_name, _validate_param_name

    key = mlflow_tracker._key(name)
    _validate_param_name(key)
    _validate_metric_name(key)
    assert len(key) <= 250


@pytest.mark.slow
def test_a_deleted_experiment_is_named(here, request):
    api = client(here)
    api.delete_experiment(api.create_experiment(request.node.name))
    with pytest.raises(InputError, match=r"is deleted; restore it there, or name another in params.yaml"):
        Mlflow(request.node.name).find("0" * 64)


# When it cannot be reached


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["gone", "500", "401", "hangs"])
def test_a_tracker_that_fails_costs_one_warning_or_the_command(faulty, run, tmp_path, monkeypatch, capfd, fault):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", faulty.address.replace("//", f"//somebody:{SECRET}@"))
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", SECRET)
    faulty.fault, faulty.left = fault, 4
    with opened(tmp_path, MLFLOW.model_copy(update={"experiment": f"fault {fault}"})) as tracker:
        started = time.monotonic()
        limit = 60 if fault != "hangs" else 30
        assert tracker.log(run, limit) is None
        assert fault != "hangs" or time.monotonic() - started < limit + 5
    told = capfd.readouterr()
    lines = told.err.strip().splitlines()
    assert len(lines) == 1, told.err
    assert lines[0].startswith("warning: MLflow: ")
    assert lines[0].endswith(f"; {run} was not sent; 'ml track {run}' sends it")
    assert SECRET not in told.err + told.out


@pytest.mark.slow
def test_an_unreachable_tracker_that_is_required_fails_the_command(run, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    required = MLFLOW.model_copy(update={"required": True})
    with opened(tmp_path, required) as tracker, pytest.raises(InputError, match=r"MLflow: .*was not sent"):
        tracker.log(run)


@pytest.mark.parametrize(
    ("to", "variables", "note"),
    [
        ("mlflow", {}, "MLflow: MLFLOW_TRACKING_URI is not set; nothing is sent"),
        ("mlflow", {"MLFLOW_TRACKING_URI": ""}, "MLflow: MLFLOW_TRACKING_URI is not set; nothing is sent"),
        (
            "mlflow",
            {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "ML_TRACKING": "off"},
            "MLflow: ML_TRACKING=off; nothing is sent",
        ),
        ("wandb", {"WANDB_API_KEY": ""}, "W&B: WANDB_API_KEY is not set, nor WANDB_MODE=offline; nothing is sent"),
    ],
)
def test_without_an_address_one_note_says_that_nothing_is_sent(tmp_path, monkeypatch, capsys, to, variables, note):
    for name in ("MLFLOW_TRACKING_URI", "WANDB_API_KEY", "WANDB_MODE", "ML_TRACKING"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with opened(tmp_path, Tracking(to=to)) as tracker:
        assert not tracker.on
        assert os.environ["ML_TRACKING"] == "parent", "commands that this one starts leave it to send"
        assert tracker.log(tmp_path) is None
    assert os.environ.get("ML_TRACKING", "") == variables.get("ML_TRACKING", "")
    assert capsys.readouterr().err == f"note: {note.replace('W&B', 'Weights & Biases')}\n"
    forced = variables.get("ML_TRACKING") or "is not set"
    with pytest.raises(InputError, match=forced), opened(tmp_path, Tracking(to=to), always=True):
        pass


def test_ml_track_without_a_tracker_says_how_to_name_one(tmp_path):
    (tmp_path / "params.yaml").write_text("seed: 7\ntask: binary\n")
    with pytest.raises(InputError, match=r"params.yaml: names no tracker; add 'tracking: \{to: mlflow\}'"):
        opened(tmp_path, always=True).__enter__()


def test_of_a_broken_params_yaml_the_command_itself_tells(tmp_path):
    (tmp_path / "params.yaml").write_text("seed: 7\n")
    with opened(tmp_path) as tracker:
        assert not tracker.on
    with pytest.raises(InputError, match=r"params.yaml: task"), opened(tmp_path, always=True):
        pass


def test_without_a_tracker_no_client_is_imported(tmp_path):
    (tmp_path / "params.yaml").write_text("seed: 7\ntask: binary\n")
    code = (
        "import sys; from pathlib import Path; from mlcicd import cli; from mlcicd.integrations.outbox import opened\n"
        "with opened(Path()) as tracker: assert not tracker.on\n"
        "print([name for name in sys.modules if name.partition('.')[0] in ('mlflow', 'wandb')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Weights & Biases


@pytest.mark.slow
def test_an_offline_run_is_kept_as_wandb_keeps_it(run, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.chdir(tmp_path)
    with opened(tmp_path, Tracking(to="wandb", experiment="shop: of ours")) as tracker:
        sent = tracker.log(run, None)
    assert sent == (key_of(run)[:32], "")
    (kept,) = (tmp_path / "runs" / "wandb").glob("offline-run-*")
    told = subprocess.run(
        [sys.executable, "-m", "wandb", "leet", "inspect", "--summary", "--json", str(kept)],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(told.stdout)
    assert (found["state"], found["project"], found["run_id"]) == ("finished", "shop--of-ours", sent.id)
    assert found["config"]["model.depth"] == 3
    assert found["config"]["tags"]["commit"] == "ab" * 20
    assert {found["summary"][name] for name in ("roc_auc", "roc_auc_low", "roc_auc_high")} == {0.7, 0.8, 0.9}
    assert found["summary"]["fold/roc_auc"] == 0.9
    assert not [path for path in tmp_path.iterdir() if path.name == "wandb"], "nothing beside runs/"


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[wandb_api.Api]:
    """An imitation of Weights & Biases, by the variables that users set."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    with wandb_api.started(KEY_OF_WANDB) as api:
        monkeypatch.setenv("WANDB_BASE_URL", api.address)
        monkeypatch.setenv("WANDB_API_KEY", KEY_OF_WANDB)
        monkeypatch.chdir(tmp_path)
        yield api
        wandb.teardown()


def whole(api: wandb_api.Api, run: Path) -> None:
    """All of a run is there, once."""
    [(name, found)] = api.runs.items()
    assert name == key_of(run)[:32]
    assert sorted(found.history) == [1, 2, 3]
    assert "plots/roc" in found.history[3]
    assert found.history[1]["fold/roc_auc"] == 0.7
    assert "fold/roc_auc" not in found.history[2]
    assert [path for path in found.files if path.startswith("media/images/plots/roc")]
    summary = json.loads(found.files["wandb-summary.json"])
    assert (summary["roc_auc"], summary["roc_auc_low"], summary["roc_auc_high"]) == (0.8, 0.7, 0.9)
    config = json.loads(found.values["config"])
    assert config["model.depth"]["value"] == 3
    assert config["inputs"]["value"] == {"data/a.csv": "0" * 64}
    [artifact] = api.artifacts.values()
    assert (artifact.kind, artifact.state) == ("run", "COMMITTED")
    assert artifact.files["run/manifest.json"] == (run / "manifest.json").read_bytes()
    assert artifact.files["run/model.skops"] == (run / "model.skops").read_bytes()


@pytest.mark.slow
def test_a_run_is_sent_to_weights_and_biases_once(weights, run):
    tracker = Wandb("shop")
    sent = tracker.send(of_run(run, Path()))
    assert sent == (key_of(run)[:32], f"acme/shop/runs/{key_of(run)[:32]}")
    whole(weights, run)
    assert tracker.send(of_run(run, Path())) == sent == tracker.find(key_of(run))
    whole(weights, run)
    assert tracker.find("0" * 64) is None


@pytest.mark.slow
def test_an_offline_run_is_synced(weights, run, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    with opened(tmp_path, Tracking(to="wandb", experiment="shop")) as tracker:
        assert tracker.log(run, None)
    assert not weights.runs
    monkeypatch.delenv("WANDB_MODE")
    (kept,) = (tmp_path / "runs" / "wandb").glob("offline-run-*")
    # A client of an earlier test in this process left its own process behind, and variables that lead to it.
    own = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    own |= {"WANDB_BASE_URL": weights.address, "WANDB_API_KEY": KEY_OF_WANDB}
    command = [sys.executable, "-m", "wandb", "sync", str(kept)]
    done = subprocess.run(command, env=own, capture_output=True, text=True)
    assert done.returncode == 0 and weights.runs, done.stdout + done.stderr
    whole(weights, run)


@pytest.mark.slow
def test_weights_and_biases_that_is_gone_costs_one_warning_and_the_run_is_sent_later(weights, run, tmp_path, capfd):
    shop, address = Tracking(to="wandb", experiment="shop"), weights.address
    os.environ["WANDB_BASE_URL"] = "http://127.0.0.1:9"  # the fixture sets it back
    with opened(tmp_path, shop) as tracker:
        assert tracker.log(run, 30) is None
    lines = [line for line in capfd.readouterr().err.splitlines() if line]
    assert len(lines) == 1
    assert lines[0].startswith("warning: Weights & Biases: ")
    assert lines[0].endswith(f"{run} was not sent; 'ml track {run}' sends it")
    assert KEY_OF_WANDB not in lines[0]
    os.environ["WANDB_BASE_URL"] = address
    with opened(tmp_path, shop, always=True) as tracker:
        assert tracker.log(run, None)
    whole(weights, run)


@pytest.mark.slow
def test_a_release_is_a_version_with_aliases_at_weights_and_biases(weights, tmp_path):
    tracker = Wandb("shop")
    first, second = (trained(tmp_path / part, seed) for part, seed in (("a", 1), ("b", 2)))
    one, two = (of_run(path, Path()) for path in (first, second))
    aliases = lambda: {v.index: v.aliases - {"latest"} for v in weights.versions("shop-model")}  # noqa: E731
    released = Release("model-1", "host/image@sha256:1", "better ✅", True)
    assert tracker.register(one, released) == "shop-model version v0"
    assert tracker.register(two, Release("model-2", "", "", True)) == "shop-model version v1"
    assert aliases() == {0: {"model-1", "previous"}, 1: {"model-2", "champion"}}
    assert tracker.register(one, released) == "shop-model version v0"
    assert aliases() == {0: {"model-1", "champion"}, 1: {"model-2", "previous"}}
    told = json.loads(weights.versions("shop-model")[0].metadata)
    assert (told["release"], told["image"], told["verdict"]) == ("model-1", "host/image@sha256:1", "better ✅")

    files = json.loads((first / "manifest.json").read_text())["files"]
    assert tracker.check(one.key, files, tmp_path / "found") == ""
    shutil.rmtree(tmp_path / "found")
    version = weights.versions("shop-model")[0]
    version.files["run/model.skops"] = b"another model"
    assert tracker.check(one.key, files, tmp_path / "found").startswith("shop-model version v0: model.skops is")
    assert "no version of shop-model was registered" in tracker.check("0" * 64, files, tmp_path / "found")


# Links in a report


def test_links_lead_below_the_address_of_the_reader_or_nowhere(tmp_path):
    report = Report("t", [Links("In MLflow", {"main": "#/experiments/1/runs/ab", "this ](x) branch": "#/a"})])
    text = review_json.write_review(report, tmp_path, "https://track.example.org/")
    assert "In MLflow: [main](https://track.example.org/#/experiments/1/runs/ab), [this " in text
    page = html.render(report, address="https://track.example.org")
    assert '<a href="https://track.example.org/#/experiments/1/runs/ab">main</a>' in page
    read = review_json.load((tmp_path / "review.json").read_text())
    assert read.blocks == report.blocks
    for address in ("", "javascript:alert(1)", "https://a b", "http://x/)[y](z"):
        assert "](" not in markdown.render(read, address=address).replace("\\](", "").replace("]\u2060(", "")
        assert "<a " not in html.render(read, address=address)


@pytest.mark.parametrize("path", ["https://evil.example", "a)b", "a b", "javascript:x", "a?b", "", "a" * 400, 3])
def test_a_link_that_is_no_plain_path_is_refused(path):
    content = {"schema": "ml-review", "version": 1, "title": "t"}
    blocks = [{"kind": "links", "title": "In MLflow", "links": [{"name": "main", "path": path}]}]
    with pytest.raises(review_json.SchemaError, match="not a plain path"):
        review_json.load(json.dumps(content | {"blocks": blocks}))
