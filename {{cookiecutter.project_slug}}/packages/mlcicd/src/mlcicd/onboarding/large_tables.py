"""A table that is too large for git: what ``ml init`` says of it, and the line that gives it to Git LFS."""

from __future__ import annotations

import re
from pathlib import Path

from mlcicd.core.errors import InputError
from mlcicd.core.plain_text import without_credentials
from mlcicd.system import processes
from mlcicd.system.git import git

MAX_PUSHED_BYTES = 50_000_000  # GitHub warns about larger files, and refuses files twice as large
ATTRIBUTES = ".gitattributes"
RULE = "filter=lfs diff=lfs merge=lfs -text"
SPECIAL = re.compile(r"([][\\*?!#\"])")  # in the patterns of git


def with_lfs(root: Path, place: Path, folder: bool) -> dict[Path, str]:
    """Prepare this clone for Git LFS; return the file that gives it the table, by path, with its new text.

    Raises
    ------
    InputError
        Git LFS is not there, or the project is in no git repository.
    """
    done = (
        processes.run(["git", "lfs", "install", "--local"], root, merge_streams=True) if git(root, "version") else None
    )
    if done is None or done.returncode:
        said = next(iter(done.stdout.splitlines()), "it does not say why") if done else "git is not installed"
        raise InputError(
            f"--lfs: Git LFS cannot be set up here ({without_credentials(said.strip())[:200]}); install git-lfs, and "
            "run this in a git repository"
        )
    path = root / ATTRIBUTES
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    if _filter(root, place, folder) == "lfs":
        return {}
    name = re.sub(r"\s", "[[:space:]]", SPECIAL.sub(r"\\\1", place.relative_to(root).as_posix()))
    ended = before if before.endswith("\n") or not before else f"{before}\n"
    return {path: f"{ended}/{name}{'/**' if folder else ''} {RULE}\n"}


def notes(root: Path, place: Path, lfs: bool) -> list[str]:
    """Return what a user has to know of a table's size: what to do before git has it."""
    name, folder = place.relative_to(root).as_posix(), place.is_dir()
    size = sum(path.stat().st_size for path in ([place] if not folder else place.rglob("*")))
    if lfs:
        add = "git add --renormalize" if git(root, "ls-files", "--", name) else "git add"
        return [f"{name} is for Git LFS; commit it together with {ATTRIBUTES}: {add} {ATTRIBUTES} '{name}'"]
    if size <= MAX_PUSHED_BYTES or _filter(root, place, folder) == "lfs":
        return []
    large = f"{name} has {size / 1e6:.0f} MB"
    if (root / ".dvc").is_dir():
        return [f"{large}; give it to DVC before git has it: uv run dvc add '{name}'"]
    return [
        f"{large}, and GitHub refuses files of more than 100: save it as Parquet, or run this again with --lfs --force "
        "to store it in Git LFS"
    ]


def _filter(root: Path, place: Path, folder: bool) -> str:
    name = place.relative_to(root).as_posix()
    told = git(root, "check-attr", "filter", "--", f"{name}/part" if folder else name) or ""
    return told.rpartition(": ")[2]
