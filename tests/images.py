"""The image of the example, built once for all that run it. Needs root, podman, buildah, runc and debootstrap.

No image registry is asked: a base made by debootstrap stands in for the official python image, under its name. On a
machine without these tools the tests skip and say so; in CI they never skip, and `.ci/run` installs the tools.
"""

from __future__ import annotations

import json
import os
import shutil
from hashlib import sha256
from pathlib import Path

import pytest
from conftest import Project, clean_environ
from containers import import_base, settings

TOOLS = ("podman", "buildah", "runc", "debootstrap")


def needed() -> None:
    missing = [tool for tool in TOOLS if not shutil.which(tool)] + ["root"] * (os.geteuid() != 0)
    if missing and os.environ.get("CI"):
        pytest.fail(f"in CI the image is always built, but {', '.join(missing)} is missing")
    if missing:
        pytest.skip(f"the image is not built here: {', '.join(missing)} is missing")


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables with which podman and buildah work in a storage of their own."""
    needed()
    return settings(tmp_path_factory.mktemp("containers"))


@pytest.fixture(scope="session")
def run(served: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run with what `release` adds to it, here by hand: test_audit lets `release` do it."""
    folder = tmp_path_factory.mktemp("released") / "model"
    shutil.copytree(served.root / "runs/model", folder)
    (folder / "review.md").write_text("## Model review: better ✅\n", encoding="utf-8")
    files = {name: sha256((folder / name).read_bytes()).hexdigest() for name in ("manifest.json", "review.md")}
    (folder / "release.json").write_text(json.dumps({"files": files, "review": "Model review: better ✅"}))
    return folder


@pytest.fixture(scope="session")
def image(served: Project, run: Path, engine: dict[str, str]) -> str:
    version = served.run("python", "-c", "import sys; print('{}.{}'.format(*sys.version_info))").stdout.strip()
    import_base(version, clean_environ() | engine)
    command = ["ml", "package", "--run", str(run), "--engine", "podman", "--image", "churn:test"]
    done = served.run(*command, timeout=900, **engine)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "image: churn:test" in done.stdout
    return "churn:test"
