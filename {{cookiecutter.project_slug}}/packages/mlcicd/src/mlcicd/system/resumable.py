"""Write a folder of parts that outlives its process: what is finished is found again by the next command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlcicd.core.errors import InputError
from mlcicd.system import outputs
from mlcicd.system.marks import read_mark, write_mark


@contextmanager
def resumable_directory(out: Path, kind: str) -> Iterator[Path]:
    """Yield a folder that replaces ``out`` if the block succeeds; if it does not, the next call yields it again.

    Whoever writes there must know a finished part from a broken one. ``out`` itself is whole, old or absent, as with
    :func:`outputs.atomic_directory`.

    Raises
    ------
    InputError
        ``out`` contains files of others, is being written by another process, or cannot be written.
    """
    target = outputs.resolve(out)
    work = target.parent / outputs.private_name(target.name, "parts")
    with outputs.locked(target, out, target.parent):
        outputs.check_directory(target, kind, out)
        try:
            if work.is_symlink() or (work.exists() and (read_mark(work) or {}).get("kind") != kind):
                raise InputError(f"{work}: is in the way, and 'ml' did not write it; move it, or choose another --out")
            work.mkdir(exist_ok=True)
            write_mark(work, kind, whole=False)
            yield work
            write_mark(work, kind, whole=True)
            replaced = outputs.publish(work, target)
        except OSError as error:
            if error.errno in outputs.NO_ROOM or outputs.is_about_output(error, work, target):
                raise outputs.cannot_write(out, error) from None
            raise
        if replaced:
            outputs.discard(replaced, kind)
