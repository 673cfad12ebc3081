"""Which files a bento holds, and which Python its image has."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from mlcicd.core.errors import InputError
from mlcicd.packaging import bento

RUNNING = "{}.{}".format(*sys.version_info)


def test_a_bento_holds_what_git_tracks_of_the_package_and_nothing_else(tmp_path: Path):
    own, secret = tmp_path / "src" / "shop", tmp_path / "secret"
    (own / "packaging").mkdir(parents=True)
    secret.mkdir()
    (secret / "key.py").write_text("KEY = 1", encoding="utf-8")
    tracked = {"service.py", "packaging/cli.py", "words.txt", "Käse.py"}
    for name in tracked | {".env", "packaging/Containerfile", "draft.py", "big.csv"}:
        (own / name).write_text(name, encoding="utf-8")
    (own / "linked.py").symlink_to(secret / "key.py")
    (own / "folder").symlink_to(secret)
    (own / ".gitignore").write_text(".env\n*.csv\n", encoding="utf-8")
    for command in (["init", "--quiet"], ["add", "."], ["rm", "--quiet", "--cached", "src/shop/draft.py"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    bento._copy_package(own, tmp_path / "packed")
    packed = {path.relative_to(tmp_path / "packed").as_posix() for path in (tmp_path / "packed").rglob("*")}
    assert packed - {"packaging"} == tracked | {".gitignore"}


def test_without_git_it_holds_the_modules(tmp_path: Path):
    own = tmp_path / "shop"
    own.mkdir()
    for name in ("service.py", ".env"):
        (own / name).write_text(name, encoding="utf-8")
    bento._copy_package(own, tmp_path / "packed")
    assert [path.name for path in (tmp_path / "packed").iterdir()] == ["service.py"]


@pytest.mark.parametrize("pin", [None, RUNNING, f"{RUNNING}.4\n", f"# ours\ncpython-{RUNNING}\n", ">=3.9"])
def test_the_image_has_the_python_that_verified_the_model(tmp_path: Path, pin: str | None):
    if pin:
        (tmp_path / ".python-version").write_text(pin, encoding="utf-8")
    assert bento.base_image(tmp_path) == f"python:{RUNNING}-slim"


@pytest.mark.parametrize("pin", ["3.9", "3.9.18\n", "cpython@3.9\n"])
def test_another_python_than_the_pinned_one_builds_no_image(tmp_path: Path, pin: str):
    (tmp_path / ".python-version").write_text(pin, encoding="utf-8")
    with pytest.raises(InputError, match=rf"pins Python 3\.9, and this is {RUNNING}: 'uv sync"):
        bento.base_image(tmp_path)


LOCK = """
[[package]]
name = "shop"
source = { editable = "." }
dependencies = [{ name = "mlcicd" }, { name = "matplotlib" }]
[package.dev-dependencies]
serve = [{ name = "mlcicd", extra = ["serve"] }, { name = "tracing" }]

[[package]]
name = "mlcicd"
source = { SOURCE }
dependencies = [{ name = "matplotlib" }]
[package.optional-dependencies]
serve = [{ name = "bentoml" }]

[[package]]
name = "tracing"
source = { registry = "https://packages.example" }
dependencies = [{ name = "wire" }]
"""


@pytest.mark.parametrize("source", ['editable = "packages/mlcicd"', 'registry = "https://packages.example"'])
def test_the_image_has_what_its_owner_added_to_the_serve_group(tmp_path: Path, source: str):
    others = "".join(
        f'[[package]]\nname = "{name}"\nsource = {{ registry = "https://packages.example" }}\n'
        for name in ("bentoml", "matplotlib", "wire")
    )
    (tmp_path / "uv.lock").write_text(LOCK.replace("SOURCE", source) + others, encoding="utf-8")
    lock = bento.Lock(tmp_path)
    assert lock.closure(bento.SERVE) == {bento.SERVE, "bentoml", "tracing", "wire"}
    assert lock.names == {"bentoml", "tracing", "wire", "matplotlib"}


@pytest.mark.parametrize(("cores", "workers"), [(1, 2), (3, 3), (64, 8)])
def test_there_are_as_many_workers_as_the_container_has_cores(cores: int, workers: int, monkeypatch):
    """joblib knows the limits of both versions of cgroups."""
    monkeypatch.delenv("ML_SERVICE_WORKERS", raising=False)
    monkeypatch.setattr("joblib.cpu_count", lambda: cores)
    assert runpy.run_module("mlcicd.serving.gunicorn_conf")["workers"] == workers


def test_a_service_is_imported_where_only_its_own_settings_name_the_package(tmp_path: Path) -> None:
    """As in an image that BentoML builds: no project lies or is installed there, and no variable is set."""
    variables = {name: value for name, value in os.environ.items() if name != "ML_PACKAGE"}
    told = """
from mlcicd.core import errors, project
try:
    print(project.package_name())
except errors.InputError:
    from mlcicd.serving.model_service import settings
    print("settings", settings("some_package")["name"])
"""
    done = subprocess.run([sys.executable, "-c", told], cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert done.stdout.split() == ["settings", "some-package"], done.stderr
