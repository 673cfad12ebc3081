"""Scientific Python's guide for repositories, asked of this one and of a project; each exception says why."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from conftest import TEMPLATE, bake

try:
    import tomllib
except ModuleNotFoundError:
    import tomli as tomllib


def review(folder: Path, *options: str) -> dict[str, dict]:
    """What repo-review finds, check by check."""
    command = ["repo-review", "--format", "json", *options, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)["checks"]


@pytest.fixture(scope="module", params=["repository", "project"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return TEMPLATE if request.param == "repository" else bake(tmp_path_factory.mktemp("reviewed"))


def test_every_check_passes_or_its_exception_is_explained(folder: Path) -> None:
    checks = review(folder)
    assert len(checks) > 50
    assert {name: check["err_msg"] for name, check in checks.items() if check["result"] is False} == {}


def test_no_exception_is_one_for_nothing(folder: Path) -> None:
    ignored = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["repo-review"]["ignore"]
    assert all(len(reason) > 5 for reason in ignored.values())
    # What the command line ignores takes the place of what the file ignores.
    failed = {name for name, check in review(folder, "--ignore", "none").items() if check["result"] is False}
    assert failed == set(ignored)
