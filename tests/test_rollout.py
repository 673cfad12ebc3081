"""`ml deploy` with the real kubectl and the real service; kubernetes_api.py imitates the cluster between them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import Project, bake
from kubernetes_api import Cluster, cluster
from rollouts import IMAGE, NAMESPACE, OVERLAY, TOKEN, digest
from test_service import Server


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


@pytest.fixture
def place(served: Project, secured: Server, released_files: Path, kubectl: str, tmp_path: Path) -> Iterator[Place]:
    root = bake(tmp_path, deploy="kubernetes")
    shutil.copytree(released_files, tmp_path / "releases/template")
    with cluster(tmp_path) as (found, config):
        path = os.pathsep.join([kubectl, str(served.environment / "bin"), os.environ["PATH"]])
        variables = {"KUBECONFIG": str(config), "HOME": str(tmp_path), "PATH": path}
        port = int(secured.url.rpartition(":")[2])
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


def test_a_second_one_is_refused_while_the_first_is_at_work(place: Place):
    first, second = place.release("model-1"), place.release("model-2")
    assert place.deploy(first)[0] == 0
    assert lease_of(place)["holderIdentity"] == ""
    # The first waits for a pod that never gets ready; the second comes meanwhile.
    place.cluster.slow.add(f"{IMAGE}@{digest('model-2')}")
    with subprocess.Popen(["ml", "deploy", second], cwd=place.project.root, env=place.project.environ(**TOKEN)) as one:
        try:
            end = time.monotonic() + 60
            while "model-candidate" not in place.deployments:
                assert one.poll() is None and time.monotonic() < end
                time.sleep(0.1)
            for what in (first, "rollback"):
                code, said = place.deploy(what)
                assert (code, said.count("\n")) == (2, 1), said
                assert "'ml deploy model-2 on " in said and "kubectl delete lease ml-deploy --namespace" in said
            assert place.deploy() == (0, f"staging: model-1, 1 of 1 ready: {IMAGE}@{digest('model-1')}\n")
        finally:
            one.terminate()
    assert lease_of(place)["holderIdentity"] == ""
    assert place.deployments == {"model"}
    # One that was killed holds it for an hour.
    place.cluster.slow.clear()
    spec = {"holderIdentity": "gone", "acquireTime": "2026-01-01T00:00:00.000000Z", "leaseDurationSeconds": 3600}
    lease_of(place).update(spec)
    assert place.deploy(second)[0] == 0
    assert place.runs == digest("model-2")


def lease_of(place: Place) -> dict:
    return place.cluster.objects["leases", NAMESPACE, "ml-deploy"]["spec"]


def test_a_release_can_be_written_for_whoever_follows_git(place: Place):
    code, said = place.deploy(place.release("model-1"), "--only-write", PATH=str(place.project.environment / "bin"))
    assert (code, said) == (0, f"staging: model-1 is written, and not rolled out: {IMAGE}@{digest('model-1')}\n")
    assert place.written == digest("model-1")
    assert place.cluster.objects == {}


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
        (["rollback"], {}, "staging: nothing is rolled out, so there is no version to go back to"),
        (["rollback", "--only-write"], {}, "--only-write: writes a release, not 'rollback'"),
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
