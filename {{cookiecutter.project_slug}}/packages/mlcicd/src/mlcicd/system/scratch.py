"""Temporary folders for intermediate files; those of killed processes are removed at the next start."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mlcicd.core.errors import InputError
from mlcicd.system.git import git
from mlcicd.system.marks import MARK, PART, read_mark, write_mark

LOCK = ".lock"
PURPOSES = ("audit", "baseline", "deploy", "package", "part", "serve", "shared", "track")
TRIES = 5


@contextmanager
def scratch(purpose: str) -> Iterator[Path]:
    """Yield an empty folder that is removed afterwards.

    Raises
    ------
    InputError
        There is no temporary folder with room in it.
    """
    import filelock

    try:
        place = Path(tempfile.gettempdir())
        sweep(place)
        for _ in range(TRIES):
            folder = Path(tempfile.mkdtemp(prefix=f"ml-{purpose}-", dir=place))
            lock = filelock.FileLock(folder / LOCK, timeout=0)
            # Another process that starts now may remove the folder before it has a mark.
            with suppress(FileNotFoundError, filelock.Timeout):
                lock.acquire()
                break
        else:
            raise InputError(f"{place}: other processes remove temporary folders; set TMPDIR to another folder")
        write_mark(folder, purpose, whole=False)
        work = folder / "work"
        work.mkdir()
    except OSError as error:
        raise InputError(
            f"the temporary folder cannot be written ({error.strerror or error}); make room there, or set TMPDIR"
        ) from None
    try:
        yield work
    finally:
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def sweep(place: Path) -> None:
    """Remove the folders of dead processes: marked or empty, and not locked."""
    import filelock

    for folder in (path for purpose in PURPOSES for path in place.glob(f"ml-{purpose}-????????")):
        with suppress(OSError, filelock.Timeout):
            if folder.is_symlink() or not folder.is_dir() or not _is_mine(folder):
                continue
            if read_mark(folder) is None and {path.name for path in folder.iterdir()} - {LOCK, PART}:
                continue
            if not any(folder.iterdir()):
                folder.rmdir()
                continue
            with filelock.FileLock(folder / LOCK, timeout=0):
                forget_worktree(folder / "work" / "tree")
                for path in folder.iterdir():  # the mark last, so that an interrupted removal is continued
                    if path.name not in (MARK, LOCK):
                        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            shutil.rmtree(folder, ignore_errors=True)


def forget_worktree(tree: Path) -> None:
    """Remove a worktree from its repository; its folder may be missing already."""
    with suppress(OSError, ValueError):
        where = (tree / ".git").read_text(encoding="utf-8").partition("gitdir: ")[2].strip()
        if where:
            remove_worktree(tree.parent, tree, f"--git-dir={Path(where).parents[1]}")


def remove_worktree(root: Path, tree: Path, *options: str) -> None:
    """Remove a worktree, including one that git did not finish creating, which is locked and may lack its files."""
    shutil.rmtree(tree, ignore_errors=True)
    git(root, *options, "worktree", "remove", "--force", "--force", str(tree))


def _is_mine(folder: Path) -> bool:
    return not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid()
