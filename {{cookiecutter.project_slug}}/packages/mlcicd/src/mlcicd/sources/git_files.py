"""Raw files that git itself holds, or that are in no repository at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from mlcicd.core.errors import InputError
from mlcicd.sources.pins import Pin
from mlcicd.system.git import git

NAME, LABEL = "git", "git"


def pin(root: Path, name: str, commit: str | None) -> Pin:
    """Return the object that git has of a file or folder; without a version if it is changed here or not in git."""
    if commit is None and git(root, "status", "--porcelain", "--ignored", "--", name) != "":
        return Pin(NAME, None, name)
    found = git(root, "rev-parse", "--verify", "--quiet", f"{commit or 'HEAD'}:./{name}")
    return Pin(NAME, f"git:{found}" if found else None, name)


def unfetched(path: Path) -> None:
    """Return None: what git holds is here as soon as it is checked out."""


def differs(path: Path, version: str) -> None:
    """Return None: a changed file has no version."""


def pull(tree: Path, root: Path, names: Sequence[str]) -> None:
    """Do nothing: what git holds is here as soon as it is checked out."""


def refuse_tracked(root: Path, name: str) -> None:
    """Refuse to pin a file that git has, too: a commit would have two versions of it."""
    if git(root, "ls-files", "--", name):
        raise InputError(f"{name}: is in git, too; take it out with 'git rm --cached -r {name}', then pin it")


def ignore(root: Path, name: str) -> None:
    """Let git ignore a file, by a line in the ``.gitignore`` beside it."""
    if git(root, "rev-parse", "--git-dir") is None or git(root, "check-ignore", "--", name):
        return
    path = PurePosixPath(name)
    file = root / path.parent / ".gitignore"
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    line = f"/{path.name}\n"
    file.write_text(text + ("\n" if text and not text.endswith("\n") else "") + line, encoding="utf-8", newline="\n")
