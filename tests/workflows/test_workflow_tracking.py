"""A pull request and a release of the example appear on a real MLflow server, and its champion predicts the same."""

from __future__ import annotations

import json
import re
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from acting import GitHub
from conftest import TEMPLATE, Project, bake, install

from workflows.conftest import replace, shrink

sys.path.append(str(TEMPLATE / "tests/mlcicd"))
import mlflow_server

READ = """
import json, os, sys
os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "true"
import mlflow.sklearn, pandas as pd
from mlflow import MlflowClient
api, run = MlflowClient(), sys.argv[1]
[experiment] = [e for e in api.search_experiments() if e.name != "Default"]
runs = [{"id": r.info.run_id, "status": r.info.status, "name": r.info.run_name, **r.data.tags}
        for r in api.search_runs([experiment.experiment_id])]
version = api.get_model_version_by_alias(experiment.name, "champion")
model = mlflow.sklearn.load_model(f"models:/{experiment.name}@champion")
holdout = pd.read_parquet(f"{run}/holdout.parquet")
told = pd.read_parquet(f"{run}/predictions.parquet")
told = told[(told["part"] == "holdout") & (told["seed"] == told["seed"].iloc[0])].set_index("row")
same = (model.predict_proba(holdout.drop(columns="row"))[:, 1] == told.loc[holdout["row"], "prediction"]).all()
print(json.dumps({"runs": runs, "version": version.tags, "run": version.run_id, "same": bool(same)}))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server.started(tmp_path_factory.mktemp("mlflow")) as address:
        yield address


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The example with `tracking` answered by MLflow, locked and installed."""
    return install(bake(tmp_path_factory.mktemp("tracked"), lock=True, tracking="mlflow"))


def test_a_pull_request_and_its_release_are_one_story(server: str, tracked: Project, tmp_path: Path) -> None:
    hub = GitHub(tmp_path / "hub", tracked.root, environment=tracked.root, counted=False)
    variables = {"MLFLOW_TRACKING_URI": server}
    hub.commit("main", shrink, message="A smaller example")
    pushed = hub.on_push("model", variables=variables)
    assert pushed.conclusion == "success", pushed.log

    hub.commit("deeper", lambda tree: replace(tree / "params.yaml", {"learning_rate: 0.3": "learning_rate: 0.25"}))
    pull = hub.open("deeper")
    reviewed = hub.on_pull_request("model", pull, variables=variables)
    assert "Model review" in reviewed.summary, reviewed.log
    hub.on_completed(reviewed, variables=variables)
    comment = hub.comment(pull.number)
    page = re.escape(f"{server}/#/experiments/1/runs/") + "([0-9a-f]{32})"
    links = [rf"\[{name}\]\({page}\)" for name in ("main", "this branch", "this review")]
    linked = re.search("In MLflow: " + ", ".join(links), comment)
    assert linked, comment[-2000:]

    hub.merge(pull)
    released = hub.on_push("release", variables=variables)
    assert released.conclusion == "success", released.log
    assert released.jobs["register"] == "success"
    [release] = hub.releases()
    with tarfile.open(hub.state / "releases" / release["tagName"] / "run.tar.gz") as packed:
        packed.extractall(tmp_path / "released", filter="data")
    script = tmp_path / "read.py"
    script.write_text(READ, encoding="utf-8")
    own = Project(tracked.root, tracked.environment, {**tracked.variables, "MLFLOW_TRACKING_URI": server})
    done = own.run("python", str(script), str(tmp_path / "released" / "model"))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])

    assert found["same"], "the champion predicts what the release's own model predicted"
    assert found["version"]["release"] == release["tagName"]
    assert found["version"]["image"] == f"ghcr.io/{hub.repository}@{hub.tags()['latest']}"
    runs = {run["id"]: run for run in found["runs"]}
    assert len(runs) == 4, "main's, the branch's, the review's, the release's"
    assert {run["status"] for run in runs.values()} == {"FINISHED"}
    main, branch, review = (runs[identifier] for identifier in linked.groups())
    assert branch["mlflow.parentRunId"] == review["id"]
    assert review["candidate"] == branch["id"] and review["baseline"] == main["id"]
    assert review["pull_request"] == branch["pull_request"] == f"#{pull.number}"
    assert branch["branch"] == "deeper"
    assert branch["verdict"] == review["verdict"]
    assert found["run"] not in (main["id"], branch["id"], review["id"])
