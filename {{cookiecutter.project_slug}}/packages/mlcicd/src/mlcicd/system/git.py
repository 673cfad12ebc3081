"""Run git commands."""

from __future__ import annotations

import subprocess
from pathlib import Path


def git(root: Path, *arguments: str) -> str | None:
    """Return the output of a git command, or None if it fails or git is not installed."""
    output = _output(root, *arguments)
    return None if output is None else output.decode(errors="replace").strip()


def file_at_commit(root: Path, commit: str, name: str) -> bytes | None:
    """Return a file's content in a commit, or with an empty name its tree; None if there is none."""
    return _output(root, "show", "--end-of-options", f"{commit}:{name}")


def small_blob(root: Path, commit: str | None, name: str, limit: int = 2048) -> bytes | None:
    """Return a file's content in a commit, or without one in the index; None if there is none or it is longer."""
    found = git(root, "rev-parse", "--verify", "--quiet", f"{commit or ''}:./{name}")
    if not found or int(git(root, "cat-file", "-s", found) or limit) >= limit:
        return None
    return _output(root, "cat-file", "blob", found)


def changed_files(root: Path, base: str) -> list[str] | None:
    """Return the files of a folder that differ between a commit and HEAD, named from there; None if git cannot tell.

    Git quotes unusual names unless they end with a zero byte, and leaves out what a renamed file was called before.
    """
    options = ("--name-only", "-z", "--no-renames", "--relative")
    return _names(_output(root, "diff", *options, "--end-of-options", base, "HEAD", "--"))


def tracked_files(root: Path) -> list[str]:
    """Return the files of a folder that git tracks, named from there."""
    return _names(_output(root, "ls-files", "-z")) or []


def _names(output: bytes | None) -> list[str] | None:
    return None if output is None else [name.decode(errors="replace") for name in output.split(b"\0") if name]


def _output(root: Path, *arguments: str) -> bytes | None:
    try:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
