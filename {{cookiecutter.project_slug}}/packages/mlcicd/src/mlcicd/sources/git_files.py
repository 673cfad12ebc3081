"""Raw files that git itself holds, or that are in no repository at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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
