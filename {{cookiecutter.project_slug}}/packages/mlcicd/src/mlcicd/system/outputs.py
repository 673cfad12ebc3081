"""Write outputs atomically: into a temporary folder beside the target, which then replaces it.

Every command writes its output through :func:`atomic_directory` or :func:`atomic_file`. Both lock the output against
other commands, replace only what this tool wrote before, and remove what a killed process left.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mlcicd.core.errors import InputError
from mlcicd.system.exchange import exchange
from mlcicd.system.marks import MARK, MARKED, PART, kind_of, read_mark, replace_problem, write_mark

MAX_NAME = 180  # bytes; leaves room for the prefix and suffix of private names
WAIT = 10.0  # seconds to wait for another process that renames
NO_ROOM = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


def warn(message: str) -> None:
    """Print a warning to standard error."""
    if sys.stderr is not None:
        print(f"warning: {message}", file=sys.stderr)


@contextmanager
def atomic_directory(out: Path, kind: str, beside: Path | None = None) -> Iterator[Path]:
    """Yield a temporary folder that replaces ``out`` if the block succeeds.

    If the process is killed, ``out`` is either the complete old or the complete new output.

    Parameters
    ----------
    kind : the kind of output; only an output of this kind is replaced
    beside : the folder for the temporary folder; by default the parent of ``out``

    Raises
    ------
    InputError
        ``out`` contains files of others, is being written by another process, or cannot be written.
    """
    target = resolve(out)
    parent = beside or target.parent
    with locked(target, out, parent):
        check_directory(target, kind, out)
        with private_folder(target, out, kind, parent) as work:
            yield work
            write_mark(work, kind, whole=True)
            if kind not in MARKED:
                (work / MARK).unlink()
            target.parent.mkdir(parents=True, exist_ok=True)
            replaced = publish(work, target)
        if replaced:
            discard(replaced, kind)


@contextmanager
def atomic_file(out: Path, ours: Callable[[Path], bool], beside: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path whose file replaces ``out`` if the block succeeds.

    ``ours`` returns whether an existing file was written by this tool and may be replaced.
    """
    target = resolve(out)
    parent = beside or target.parent
    with locked(target, out, parent):
        if target.is_dir():
            raise InputError(f"{out}: is a folder, where a file is to be written; choose another --out")
        if os.path.lexists(target) and not ours(target):
            raise InputError(f"{out}: is not replaced, since 'ml' did not write it; choose another --out, or move it")
        with private_folder(target, out, "file", parent) as work:
            yield work / target.name
            (work / target.name).replace(target)


def recover(path: Path) -> None:
    """Restore the name of an output if a process was killed between two renames."""
    if path.name and not os.path.lexists(path) and (path.parent / private_name(path.name, "old")).is_dir():
        target = resolve(path)
        with locked(target, path, target.parent, WAIT):
            _recover(target)


def cannot_write(out: Path, error: OSError) -> InputError:
    """Return an InputError that explains an OSError."""
    remedy = "make room" if error.errno in NO_ROOM else "choose another place"
    return InputError(f"{out}: cannot be written ({error.strerror or error}); {remedy}")


def private_name(name: str, part: str) -> str:
    """Return the name of a temporary folder or lock file beside an output."""
    if len(os.fsencode(name)) > MAX_NAME:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
    return f".{name}.ml-{part}"


def resolve(out: Path) -> Path:
    """Resolve symbolic links in an output's path."""
    try:
        target = Path(os.path.realpath(out))
        if target.is_symlink():
            raise InputError(f"{out}: is a link in a circle; choose another --out")
        for folder in target.parents:
            if folder.is_dir():
                break
            if os.path.lexists(folder):
                raise InputError(f"{out}: {folder.name} is a file, not a folder; choose another --out")
        target.exists()  # raises for a name that is too long or a folder without permission
    except OSError as error:
        raise cannot_write(out, error) from None
    except ValueError as error:  # a null byte
        raise InputError(f"--out: cannot be written ({error}); choose another") from None
    return target


def check_directory(target: Path, kind: str, out: Path) -> None:
    try:
        _recover(target)
        if not os.path.lexists(target):
            return
        problem = "it is a file" if not target.is_dir() else replace_problem(target, kind)
    except OSError as error:
        raise InputError(f"{out}: cannot be read ({error.strerror}); choose another --out") from None
    if target == target.parent or problem:
        raise InputError(f"{out}: is not replaced, since {problem}; choose another --out, or move it away")


@contextmanager
def locked(place: Path, out: Path, near: Path, seconds: float = 0.0) -> Iterator[None]:
    """Lock an output for this process; afterwards remove the lock file, and folders that were created and are empty."""
    import filelock

    created = [folder for folder in place.parents if not folder.exists()]
    path = near / private_name(place.name, "lock")
    lock = filelock.FileLock(path, timeout=seconds)
    try:
        near.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout:
        raise InputError(f"{out}: is being written by another 'ml'; wait for it, or choose another --out") from None
    except OSError as error:
        _remove_empty(created)
        raise cannot_write(out, error) from None
    try:
        yield
    finally:
        if os.name != "nt":  # on Windows, filelock removes the file itself
            path.unlink(missing_ok=True)  # before the release: waiting processes notice it and create their own
        lock.release()
        _remove_empty(created)


def _remove_empty(folders: list[Path]) -> None:
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


@contextmanager
def private_folder(place: Path, out: Path, kind: str, near: Path) -> Iterator[Path]:
    """Create a temporary folder beside the output; as the lock is held, an existing one is from a dead process."""
    try:
        work = next(name for name in _names(place, near) if _is_free(name))
        work.mkdir()
        write_mark(work, kind, whole=False)
    except OSError as error:
        raise cannot_write(out, error) from None
    try:
        yield work
    except BaseException as error:
        mark = read_mark(work) if work.is_dir() else None
        if mark and not mark["whole"]:
            shutil.rmtree(work, ignore_errors=True)
        elif work.is_dir():  # the unpublished new output or, after the swap, the old one
            discard(work, kind)
        if isinstance(error, OSError) and (error.errno in NO_ROOM or is_about_output(error, work, place)):
            raise cannot_write(out, error) from None
        raise
    if kind == "file":
        shutil.rmtree(work, ignore_errors=True)


def is_about_output(error: OSError, work: Path, place: Path) -> bool:
    """Return whether an error is about the output, rather than a file that a command reads."""
    named = [Path(os.fsdecode(name)) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    return any(path == place or path.is_relative_to(work) for path in named)


def _names(place: Path, near: Path) -> Iterator[Path]:
    """Yield names for the temporary folder; later ones are used if something else has the first."""
    for number in range(1, 1000):
        yield near / private_name(place.name, "work" if number == 1 else f"work-{number}")


def _is_free(folder: Path) -> bool:
    """Remove what a dead process left under this name; return whether the name is free."""
    if not os.path.lexists(folder):
        return True
    if folder.is_symlink() or not folder.is_dir():
        return False
    kind = kind_of(folder)
    if kind is None and {path.name for path in folder.iterdir()} - {PART}:
        return False
    return discard(folder, kind or "run")


def publish(work: Path, place: Path) -> Path | None:
    """Move the new output to its target; return the new path of the old output, or None if there was none."""
    if not os.path.lexists(place):
        work.rename(place)
        return None
    if exchange(work, place):
        return work
    old = place.parent / private_name(place.name, "old")
    place.rename(old)
    try:
        work.rename(place)
    except BaseException:
        if not os.path.lexists(place):
            old.rename(place)
        raise
    return old


def _recover(place: Path) -> None:
    """Finish an interrupted replacement: restore the old output, or remove it if the new one is in place."""
    old = place.parent / private_name(place.name, "old")
    if old.is_symlink() or not old.is_dir() or (kind := kind_of(old)) is None:
        return
    if os.path.lexists(place):
        discard(old, kind)
    else:
        old.rename(place)


def discard(folder: Path, kind: str) -> bool:
    """Remove a replaced output, its mark last; warn and return False if that is not possible."""
    try:
        if (problem := replace_problem(folder, kind)) is not None:
            warn(f"{folder} stays, since {problem}")
            return False
        write_mark(folder, kind, whole=False)  # if killed from here on, the next command removes the rest
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != MARK:
                path.unlink()
        (folder / MARK).unlink()
        folder.rmdir()
    except OSError as error:
        warn(f"{folder}: what was replaced cannot be removed ({error.strerror}); it is no longer needed")
        return False
    return True
