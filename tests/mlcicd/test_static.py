"""What is checked without running anything: the order of imports, types of the machinery and of the owner's code."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import CACHES, MACHINERY, OWNED, PROJECT


def passes(folder: Path, tool: str, *arguments: str) -> None:
    """Run a command of this environment in a folder."""
    command = [Path(sys.executable).with_name(tool), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr


def test_rooms_import_downwards_only() -> None:
    passes(MACHINERY, "lint-imports", "--no-cache")


def test_the_machinery_is_typed() -> None:
    passes(MACHINERY, "mypy", "--cache-dir", str(CACHES / "mypy"))


@pytest.mark.parametrize("overlay", OWNED, ids=["generic", "example"])
def test_the_owners_package_is_typed(tmp_path: Path, overlay: Path) -> None:
    for folder in (OWNED[0], overlay):
        shutil.copytree(folder, tmp_path / "src" / "owned", dirs_exist_ok=True)
    settings = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    settings = settings.replace("{{ cookiecutter.python_version }}", "3.11")
    (tmp_path / "pyproject.toml").write_text(settings, encoding="utf-8")
    passes(tmp_path, "mypy", "--cache-dir", str(CACHES / "mypy-owned"))
