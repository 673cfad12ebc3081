"""What of the package is packed into a bento: exactly what git tracks. Runs inside a project: see test_models.py."""

from __future__ import annotations

import importlib
import subprocess
from importlib.metadata import entry_points
from pathlib import Path

PACKAGE = next(iter(entry_points(group="console_scripts", name="ml"))).value.partition(".")[0]
package = importlib.import_module(f"{PACKAGE}.pipeline.package")


def test_a_bento_holds_what_git_tracks_of_the_package_and_nothing_else(tmp_path: Path):
    own, secret = tmp_path / "src" / "shop", tmp_path / "secret"
    (own / "pipeline").mkdir(parents=True)
    secret.mkdir()
    (secret / "key.py").write_text("KEY = 1", encoding="utf-8")
    tracked = {"service.py", "pipeline/cli.py", "words.txt", "Käse.py"}
    for name in tracked | {".env", "pipeline/Containerfile", "draft.py", "big.csv"}:
        (own / name).write_text(name, encoding="utf-8")
    (own / "linked.py").symlink_to(secret / "key.py")
    (own / "folder").symlink_to(secret)
    (own / ".gitignore").write_text(".env\n*.csv\n", encoding="utf-8")
    for command in (["init", "--quiet"], ["add", "."], ["rm", "--quiet", "--cached", "src/shop/draft.py"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    package._copy_package(own, tmp_path / "packed")
    packed = {path.relative_to(tmp_path / "packed").as_posix() for path in (tmp_path / "packed").rglob("*")}
    assert packed - {"pipeline"} == tracked | {".gitignore"}


def test_without_git_it_holds_the_modules(tmp_path: Path):
    own = tmp_path / "shop"
    own.mkdir()
    for name in ("service.py", ".env"):
        (own / name).write_text(name, encoding="utf-8")
    package._copy_package(own, tmp_path / "packed")
    assert [path.name for path in (tmp_path / "packed").iterdir()] == ["service.py"]
