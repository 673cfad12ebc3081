"""Write outputs whole or not at all: a private place beside them, then one exchange of names.

Every command that writes an output goes through :func:`atomic_directory` or :func:`atomic_file`. Both hold a lock on
the output, so that two commands never mix in one; replace only what a former run of this tool wrote; and remove what a
killed one left.
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

from .errors import InputError
from .exchange import exchange
from .marks import MARK, MARKED, PART, foreign, kind_of, read_mark, write_mark

LONGEST = 180  # bytes of a name that still has room for what is put around it
WAIT = 10.0  # seconds for another process to end two renames
NO_ROOM = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


def warn(message: str) -> None:
    """Say what does not stop the command."""
    if sys.stderr is not None:
        print(f"warning: {message}", file=sys.stderr)


@contextmanager
def atomic_directory(out: Path, kind: str, beside: Path | None = None) -> Iterator[Path]:
    """Yield a private folder that takes the place of ``out`` when all went well.

    A kill at any moment leaves ``out`` as it was, or the new one; never half of one, never neither.

    Parameters
    ----------
    kind : which kind of output it is; it replaces that kind alone
    beside : the folder that holds the private one meanwhile; by default the one that ``out`` is in

    Raises
    ------
    InputError
        ``out`` holds what this tool did not write, is being written by another process, or cannot be written.
    """
    place = _resolve(out)
    near = beside or place.parent
    with locked(place, out, near):
        _check_directory(place, kind, out)
        with private_folder(place, out, kind, near) as work:
            yield work
            write_mark(work, kind, whole=True)
            if kind not in MARKED:
                (work / MARK).unlink()
            place.parent.mkdir(parents=True, exist_ok=True)
            old = _publish(work, place)
        if old:
            _discard(old, kind)


@contextmanager
def atomic_file(out: Path, ours: Callable[[Path], bool], beside: Path | None = None) -> Iterator[Path]:
    """Yield a private path whose file takes the place of ``out`` when all went well.

    ``ours`` says whether a file that is there already was written by this tool. What raises leaves ``out`` as it was.
    """
    place = _resolve(out)
    near = beside or place.parent
    with locked(place, out, near):
        if place.is_dir():
            raise InputError(f"{out}: is a folder, where a file is to be written; choose another --out")
        if os.path.lexists(place) and not ours(place):
            raise InputError(f"{out}: is not replaced, since 'ml' did not write it; choose another --out, or move it")
        with private_folder(place, out, "file", near) as work:
            yield work / place.name
            (work / place.name).replace(place)


def recover(path: Path) -> None:
    """Give an output its name back where a process was killed between two renames."""
    if path.name and not os.path.lexists(path) and (path.parent / private_name(path.name, "old")).is_dir():
        place = _resolve(path)
        with locked(place, path, place.parent, WAIT):
            _recover(place)


def cannot_write(out: Path, error: OSError) -> InputError:
    """One line for what the file system says."""
    remedy = "make room" if error.errno in NO_ROOM else "choose another place"
    return InputError(f"{out}: cannot be written ({error.strerror or error}); {remedy}")


def private_name(name: str, part: str) -> str:
    """The name of what stands beside an output for a while: a folder, a lock."""
    if len(os.fsencode(name)) > LONGEST:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
    return f".{name}.ml-{part}"


def _resolve(out: Path) -> Path:
    """Where an output really lies: behind links."""
    try:
        place = Path(os.path.realpath(out))
        if place.is_symlink():
            raise InputError(f"{out}: is a link in a circle; choose another --out")
        for folder in place.parents:
            if folder.is_dir():
                break
            if os.path.lexists(folder):
                raise InputError(f"{out}: {folder.name} is a file, not a folder; choose another --out")
        place.exists()  # a name that is too long, or a folder that may not be entered
    except OSError as error:
        raise cannot_write(out, error) from None
    except ValueError as error:  # a null byte
        raise InputError(f"--out: cannot be written ({error}); choose another") from None
    return place


def _check_directory(place: Path, kind: str, out: Path) -> None:
    try:
        _recover(place)
        if not os.path.lexists(place):
            return
        problem = "it is a file" if not place.is_dir() else foreign(place, kind)
    except OSError as error:
        raise InputError(f"{out}: cannot be read ({error.strerror}); choose another --out") from None
    if place == place.parent or problem:
        raise InputError(f"{out}: is not replaced, since {problem}; choose another --out, or move it away")


@contextmanager
def locked(place: Path, out: Path, near: Path, seconds: float = 0.0) -> Iterator[None]:
    """Hold the output for this process alone. The lock's file goes with it, and so do folders that stayed empty."""
    import filelock

    made = [folder for folder in place.parents if not folder.exists()]
    path = near / private_name(place.name, "lock")
    lock = filelock.FileLock(path, timeout=seconds)
    try:
        near.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout:
        raise InputError(f"{out}: is being written by another 'ml'; wait for it, or choose another --out") from None
    except OSError as error:
        _remove_empty(made)
        raise cannot_write(out, error) from None
    try:
        yield
    finally:
        if os.name != "nt":  # there filelock removes it itself
            path.unlink(missing_ok=True)  # while it is held: who waits for it sees that it is gone, and makes its own
        lock.release()
        _remove_empty(made)


def _remove_empty(folders: list[Path]) -> None:
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


@contextmanager
def private_folder(place: Path, out: Path, kind: str, near: Path) -> Iterator[Path]:
    """Make a folder beside the output. The lock is held, so what has its name already is a dead process's."""
    try:
        work = next(name for name in _names(place, near) if _swept(name))
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
        elif work.is_dir():  # the new one, not published; or, after the exchange, the old one
            _discard(work, kind)
        if isinstance(error, OSError) and (error.errno in NO_ROOM or _concerns(error, work, place)):
            raise cannot_write(out, error) from None
        raise
    if kind == "file":
        shutil.rmtree(work, ignore_errors=True)


def _concerns(error: OSError, work: Path, place: Path) -> bool:
    """Whether an error speaks of the output, not of a file that a training reads."""
    named = [Path(os.fsdecode(name)) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    return any(path == place or path.is_relative_to(work) for path in named)


def _names(place: Path, near: Path) -> Iterator[Path]:
    """The private folder's name; others where something stays in the way."""
    for number in range(1, 1000):
        yield near / private_name(place.name, "work" if number == 1 else f"work-{number}")


def _swept(folder: Path) -> bool:
    """Whether a private folder's name is free, once what a dead process left there is gone."""
    if not os.path.lexists(folder):
        return True
    if folder.is_symlink() or not folder.is_dir():
        return False
    kind = kind_of(folder)
    if kind is None and {path.name for path in folder.iterdir()} - {PART}:
        return False
    return _discard(folder, kind or "run")


def _publish(work: Path, place: Path) -> Path | None:
    """Give the new output its name; return where the old one is now, if there was one."""
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
    """Where there was no exchange: give the older output its name back, or remove it where the newer one has it."""
    old = place.parent / private_name(place.name, "old")
    if old.is_symlink() or not old.is_dir() or (kind := kind_of(old)) is None:
        return
    if os.path.lexists(place):
        _discard(old, kind)
    else:
        old.rename(place)


def _discard(folder: Path, kind: str) -> bool:
    """Remove a replaced output, its mark last; what cannot or may not be removed stays, with a warning."""
    try:
        if (problem := foreign(folder, kind)) is not None:
            warn(f"{folder} stays, since {problem}")
            return False
        write_mark(folder, kind, whole=False)  # a kill from here on leaves what the next start removes
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
