"""The machinery published to an index: a project takes it from there by one line of `tool.uv.sources`, and works."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Project, bake, clean_environ

SOURCE = "mlcicd = { workspace = true }\n"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What would be published."""
    folder = tmp_path_factory.mktemp("wheel")
    root = bake(folder)
    out = folder / "out"
    command = ["uv", "build", "--quiet", "--wheel", "--offline", "--package", "mlcicd", "--out-dir", str(out)]
    subprocess.run(command, cwd=root, env=clean_environ(), check=True)
    return next(out.glob("*.whl"))


@pytest.fixture
def published(served: Project, wheel: Path, tmp_path: Path) -> Project:
    """A project whose machinery is that wheel; not yet locked."""
    copy = served.copy(tmp_path / "project")
    shutil.rmtree(copy.root / "packages")
    settings = copy.root / "pyproject.toml"
    text = settings.read_text(encoding="utf-8")
    assert text.count(SOURCE) == 1
    settings.write_text(text.replace(SOURCE, f'mlcicd = {{ path = "{wheel.as_posix()}" }}\n'), encoding="utf-8")
    return Project(copy.root, copy.root / ".venv", {"PYTHONPATH": "", "BENTOML_HOME": str(tmp_path / "bentoml")})


def test_one_line_is_changed_and_everything_works(published: Project) -> None:
    for command in (
        "uv lock --quiet",
        "uv sync --quiet --group serve",
        "git add --all",
        "git commit --quiet --message Index",
        "ml train",
        "ml audit runs/model",
        "ml package --engine none",
    ):
        done = published.run(*command.split())
        assert done.returncode == 0, f"{command}: {done.stdout[-2000:]} {done.stderr[-2000:]}"
    bento = next(line.removeprefix("path: ") for line in done.stdout.splitlines() if line.startswith("path: "))
    assert (Path(bento) / "src/mlcicd/serving/app.py").is_file()
    audited = published.run("ml", "audit", bento)
    assert audited.returncode == 0, audited.stdout + audited.stderr
    reviewed = published.run("ml", "review", "--base", "HEAD~1")  # main with the machinery in its workspace
    assert "Model review: same" in reviewed.stdout, reviewed.stdout[:3000] + reviewed.stderr


@pytest.mark.parametrize("honest", [True, False])
def test_where_nothing_is_installed_the_renderer_comes_from_the_wheel_of_the_lock(
    published: Project, wheel: Path, honest: bool
) -> None:
    digest = hashlib.sha256(wheel.read_bytes() if honest else b"another").hexdigest()
    named = f'{{ url = {json.dumps(wheel.as_uri())}, hash = "sha256:{digest}" }}'
    (published.root / "uv.lock").write_text(f'[[package]]\nname = "mlcicd"\nwheels = [{named}]\n', encoding="utf-8")
    script = "from machinery import load; print(load('rendering.markdown').__file__)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=published.root / ".github/scripts",
        env=clean_environ(),
        capture_output=True,
        text=True,
    )
    assert (done.returncode == 0) is honest, done.stderr
    assert "mlcicd.whl" in done.stdout if honest else "is not the file that uv.lock names" in done.stderr
