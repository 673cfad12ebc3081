"""`deploy` under act: the real `ml deploy`, kubectl and service, and imitations of GitHub and of the cluster."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from acting import ACTIONS, GitHub, Outcome, workflow
from conftest import TEMPLATE, Project, bake, clean_environ
from kubernetes_api import Cluster, cluster
from rollouts import IMAGE, NAMESPACE, OVERLAY, TOKEN, digest
from test_service import Server

ANSWER = TEMPLATE / "{{cookiecutter.project_slug}}/_deploy/kubernetes"


class Place(NamedTuple):
    """A project on GitHub, the cluster that it is for, and a service that answers as the pods of its releases."""

    hub: GitHub
    cluster: Cluster
    config: str
    template: Path
    port: int

    def release(self, name: str) -> None:
        """Publish a release whose image the cluster can pull."""
        folder = self.hub.state / "releases" / name
        shutil.copytree(self.template, folder)
        statement = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
        statement["subject"][0]["digest"]["sha256"] = digest(name).removeprefix("sha256:")
        (folder / "provenance.json").write_text(json.dumps(statement), encoding="utf-8")
        (folder / "release.json").write_text(json.dumps({"tagName": name, "isDraft": False, "order": int(name[-1])}))
        self.cluster.images[f"{IMAGE}@{digest(name)}"] = self.port

    def deploy(self, release: str, *, credential: bool = True, push: bool = False, **secrets: str) -> Outcome:
        secrets = TOKEN | secrets | ({"KUBECONFIG": self.config} if credential else {})
        variables = {"DEPLOY_PUSH": "true"} if push else {}
        inputs = {"release": release, "to": "staging"}
        return self.hub.on_push(
            "deploy", event="workflow_dispatch", inputs=inputs, secrets=secrets, variables=variables
        )

    @property
    def runs(self) -> str:
        """The digest that the Deployment runs."""
        found = self.cluster.objects["deployments", NAMESPACE, "model"]
        return found["spec"]["template"]["spec"]["containers"][0]["image"].partition("@")[2]

    def written(self, branch: str = "main") -> str:
        """The digest in the overlay of a branch."""
        command = ["git", "-C", str(self.hub.origin), "show", f"{branch}:{OVERLAY}"]
        [found] = re.findall(r"^    digest: (\S+)$", subprocess.check_output(command, text=True), re.M)
        return found

    def items(self, kind: str) -> list[dict[str, Any]]:
        """The issues or pull requests that the workflows opened."""
        file = self.hub.state / "hub.json"
        found = json.loads(file.read_text(encoding="utf-8"))["items"] if file.exists() else []
        return [item for item in found if item["kind"] == kind]


@pytest.fixture
def place(
    served: Project,
    secured: Server,
    released_files: Path,
    kubectl: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Place]:
    root = bake(tmp_path, deploy="kubernetes")
    shutil.copyfile(served.root / "uv.lock", root / "uv.lock")
    for command in (["add", "--all"], ["commit", "--quiet", "--message", "lock"]):
        subprocess.run(["git", *command], cwd=root, env=clean_environ(), check=True)
    monkeypatch.setenv("PATH", os.pathsep.join([kubectl, os.environ["PATH"]]))
    monkeypatch.setenv("KUBECACHEDIR", str(tmp_path / "kube"))
    hub = GitHub(tmp_path / "hub", root, environment=served.root, counted=False)
    with cluster(tmp_path) as (found, config):
        yield Place(hub, found, config.read_text(encoding="utf-8"), released_files, int(secured.url.rpartition(":")[2]))


def test_a_release_is_rolled_out_or_taken_back_and_one_issue_says_why(place: Place) -> None:
    hub = place.hub
    for name in ("model-1", "model-2", "model-3"):
        place.release(name)
    first = place.deploy("model-1", push=True)
    assert first.conclusion == "success", first.log
    assert "same predictions as the run on 1,000 rows" in first.log
    assert place.runs == place.written() == digest("model-1")
    assert (place.items("issue"), place.items("pr")) == ([], [])

    # The smoke test fails: the pods refuse its token. Then the version crashes where it has the traffic.
    refused = place.deploy("model-2", push=True, ML_SERVICE_TOKEN="another")
    assert refused.conclusion == "failure", refused.log
    [issue] = place.items("issue")
    assert issue["title"] == "model-2 was not rolled out to staging" and issue["labels"] == ["deploy-staging"]
    assert "HOLDOUT ROWS REFUSED (401)" in issue["body"]
    place.cluster.failing.add(("model", f"{IMAGE}@{digest('model-2')}"))
    crashed = place.deploy("model-2", push=True)
    assert crashed.conclusion == "failure", crashed.log
    [issue] = place.items("issue")
    assert "model: CrashLoopBackOff" in issue["body"] and "rolled back; staging: model-1" in issue["body"]
    assert (refused.jobs["record"], crashed.jobs["record"]) == ("skipped", "skipped")
    assert place.runs == place.written() == digest("model-1")

    # Main takes no push: a pull request says what runs, with its checks.
    place.cluster.failing.clear()
    (hub.state / "main-is-protected").touch()
    second = place.deploy("model-2", push=True)
    assert second.conclusion == "success", second.log
    assert [issue["state"] for issue in place.items("issue")] == ["CLOSED"]
    [pull] = place.items("pr")
    assert (pull["title"], pull["headRefName"]) == ("Deploy model-2 to staging", "deploy/staging")
    assert place.runs == place.written("deploy/staging") == digest("model-2")
    started = [(event["workflow"], event["ref"], event["inputs"]) for event in hub.events("dispatch")]
    assert started == [("ci", "deploy/staging", {}), ("model", "deploy/staging", {"number": str(pull["number"])})]

    # Without a credential nothing touches the cluster; the pull request follows.
    seen = len(place.cluster.seen)
    third = place.deploy("model-3", credential=False)
    assert third.conclusion == "success", third.log
    [pull] = place.items("pr")
    assert (pull["title"], pull["state"]) == ("Deploy model-3 to staging", "OPEN")
    assert place.written("deploy/staging") == digest("model-3")
    assert (place.written(), place.runs, len(place.cluster.seen)) == (digest("model-1"), digest("model-2"), seen)


def test_what_runs_is_written_by_a_push_or_a_pull_request(tmp_path: Path) -> None:
    """The step alone, without act: GitHub's stand-in refuses what a test says."""
    origin, state = tmp_path / "origin.git", tmp_path / "state"
    state.mkdir()
    root = str(bake(tmp_path, deploy="kubernetes"))
    subprocess.run(["git", "clone", "--quiet", "--bare", root, str(origin)], check=True)
    job = workflow(ANSWER, "deploy")["jobs"]["record"]
    given = {"GH_TOKEN": "ghs_stand_in", "GH_REPO": "acme/churn", "GITHUB_JOB": "record", "OURS": job["env"]["OURS"]}
    given |= {"STANDIN": str(state), "STANDIN_TOOLS": str(ACTIONS / "tools"), "TO": "staging", "FILE": OVERLAY}
    given |= {"BRANCH": "deploy/staging", "PATH": os.pathsep.join([str(ACTIONS / "bin"), os.environ["PATH"]])}
    head = ["git", "-C", str(origin), "rev-parse", "main"]
    given["GITHUB_SHA"] = subprocess.check_output(head, text=True).strip()

    def record(release: str, *, push: bool = False, what: str = "") -> subprocess.CompletedProcess[str]:
        variables = {"RELEASE": release, "DIGEST": what or digest(release), "PUSH": "true" if push else ""}
        shell = ["/bin/bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", job["steps"][0]["run"]]
        environ = clean_environ() | given | variables
        return subprocess.run(shell, cwd=tmp_path, env=environ, capture_output=True, text=True)

    def now() -> tuple[str, dict[str, str]]:
        found = subprocess.check_output(["git", "-C", str(origin), "show", f"main:{OVERLAY}"], text=True)
        items = json.loads((state / "hub.json").read_text())["items"] if (state / "hub.json").exists() else []
        return re.findall(r"digest: (\S+)", found)[0], {item["title"]: item["state"] for item in items}

    assert record("model-1", push=True).returncode == 0
    assert record("model-1").returncode == 0 and now() == (digest("model-1"), {})
    assert record("model-2", what="sha256:$(id)").returncode == 1 and now() == (digest("model-1"), {})
    (state / "main-is-protected").touch()
    (state / "no-pull-requests").touch()
    refused = record("model-2", push=True)
    assert refused.returncode == 1 and "allow GitHub Actions to create pull requests" in refused.stdout
    (state / "no-pull-requests").unlink()  # and the branch that was left is used again
    assert record("model-2", push=True).returncode == 0
    assert now() == (digest("model-1"), {"Deploy model-2 to staging": "OPEN"})
    assert record("model-1").returncode == 0  # taken back: main says so already
    assert now() == (digest("model-1"), {"Deploy model-2 to staging": "CLOSED"})


def test_a_release_starts_its_roll_out_to_staging(fakes: Path, tmp_path: Path) -> None:
    hub = GitHub(tmp_path / "hub", bake(tmp_path, deploy="kubernetes"), counted=False)
    released = hub.on_push("release", fakes=fakes)
    hub.stop_containers()
    assert released.conclusion == "success", released.log
    [release] = hub.releases()
    inputs = {"release": release["tagName"]}
    assert [event["inputs"] for event in hub.events("dispatch") if event["workflow"] == "deploy"] == [inputs]
    given = yaml.safe_load((ANSWER / ".github/workflows/deploy.yml").read_text(encoding="utf-8"))[True]
    assert given["workflow_dispatch"]["inputs"]["to"]["default"] == "staging"


def test_roll_outs_to_one_place_wait_for_each_other() -> None:
    group = {"group": "deploy-${{ inputs.to }}", "cancel-in-progress": False}
    assert workflow(ANSWER, "deploy")["concurrency"] == group


def test_only_main_is_rolled_out_and_the_jobs_that_write_have_no_password() -> None:
    jobs = workflow(ANSWER, "deploy")["jobs"]
    assert jobs["roll-out"]["if"] == "github.ref == 'refs/heads/main'"
    assert jobs["roll-out"]["permissions"] == {"contents": "read"}
    for name in ("record", "tell"):
        assert "secrets." not in json.dumps(jobs[name]) and "uv run" not in json.dumps(jobs[name])
