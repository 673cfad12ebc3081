"""Fetch the files that Git LFS stores, of which git itself has only pointers."""

from __future__ import annotations

import re
from pathlib import Path

from mlcicd.core.errors import InputError
from mlcicd.system import processes
from mlcicd.system.git import git

POINTER = b"version https://git-lfs.github.com/spec/"
# What `git lfs install` sets; without it git-lfs fetches files and does not check them out.
FILTERS = (
    "clean=git-lfs clean -- %f",
    "smudge=git-lfs smudge -- %f",
    "process=git-lfs filter-process",
    "required=true",
)
SPECIAL = re.compile(r"[][\\*?,]")  # --include takes patterns, with commas between them
CREDENTIALS = re.compile(r"://[^/@\s]*@")
# Nobody may be there to answer for a password, and who skips the files of clones still wants these.
SETTINGS = {"GIT_TERMINAL_PROMPT": "0", "GIT_LFS_SKIP_SMUDGE": "0"}


def pull(tree: Path) -> None:
    """Replace the pointers in a folder of a checked-out commit by the files themselves.

    Raises
    ------
    InputError
        A file could not be fetched. The message starts with a verb; the caller says of which commit it speaks.
    """
    names = _pointers(tree)
    if not names:
        return
    filters = [word for setting in FILTERS for word in ("-c", f"filter.lfs.{setting}")]
    command = ["git", *filters, "lfs", "pull", "--include", ",".join(SPECIAL.sub("?", name) for name in names)]
    done = processes.run(command, tree, SETTINGS, merge_streams=True)
    missing = _pointers(tree)
    if done.returncode == 0 and not missing:
        return
    lines = [line.strip() for line in re.split(r"[\r\n]+", done.stdout) if line.strip()]
    lines = [line for line in lines if not line.startswith("Downloading LFS objects")]
    cause = CREDENTIALS.sub("://", lines[0])[:300] if lines else "git-lfs does not say why"
    commit = git(tree, "rev-parse", "HEAD")
    raise InputError(
        f"has {(missing or names)[0]} in Git LFS, and it could not be fetched ({cause}); "
        f"run 'git lfs fetch origin {commit}', then review again"
    )


def _pointers(tree: Path) -> list[str]:
    """Return the unfetched files below a folder, as they are named from the top of the repository."""
    top = Path(git(tree, "rev-parse", "--show-toplevel") or tree)
    listed = git(tree, "grep", "--cached", "-Ilz", "--full-name", "-e", f"^{POINTER.decode()}", "--", ".")
    return [name for name in (listed or "").split("\0") if name and _is_pointer(top / name)]


def _is_pointer(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(POINTER)) == POINTER
    except OSError:
        return False
