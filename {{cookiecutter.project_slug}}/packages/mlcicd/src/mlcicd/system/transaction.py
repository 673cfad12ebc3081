"""Replace several files and folders atomically, with a journal.

No file system renames several files at once. So the new files are written elsewhere first, then a journal that lists
the replacements, which are then made. If the process is killed meanwhile, the next ``ml`` completes them.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlcicd.core.errors import InputError
from mlcicd.system.exchange import exchange
from mlcicd.system.marks import read_mark
from mlcicd.system.outputs import WAIT, cannot_write, locked, private_folder, private_name

JOURNAL = "journal.json"
NAME = "init"


class Replacement:
    """A set of files to replace; nothing changes before :meth:`commit`."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.entries: list[dict[str, Any]] = []

    def add(self, target: Path, new: Path) -> None:
        """Replace ``target`` with ``new``, a file or folder on the same file system, on commit."""
        entry = {"new": str(new.absolute()), "target": str(target.absolute())}
        self.entries.append(entry | {"made": _state(new), "replaced": _state(target)})

    def commit(self) -> None:
        """Replace all files, or none if one cannot be replaced."""
        part = self.work / f"{JOURNAL}.part"
        part.write_text(json.dumps(self.entries), encoding="utf-8")
        part.replace(self.work / JOURNAL)
        try:
            _apply(self.entries)
        except KeyboardInterrupt:
            _apply(self.entries)
            _finish(self.work, self.entries)
            raise
        except OSError:
            _undo(self.entries)
            (self.work / JOURNAL).unlink()
            raise
        _finish(self.work, self.entries)


@contextmanager
def replacing(root: Path) -> Iterator[Replacement]:
    """Start a replacement of files in a project, for one process at a time."""
    place, where = root.resolve() / NAME, root / "contract.yaml"
    with locked(place, where, place.parent):
        _recover(place)
        with private_folder(place, where, "file", place.parent) as work:
            yield Replacement(work)


def recover(root: Path) -> None:
    """Complete the replacement of a killed process."""
    place = root.resolve() / NAME
    if not _journals(place):
        return
    with locked(place, root / "contract.yaml", place.parent, WAIT):
        _recover(place)


def _journals(place: Path) -> list[Path]:
    journals = place.parent.glob(f"{private_name(NAME, 'work')}*/{JOURNAL}")
    return [path for path in journals if read_mark(path.parent) is not None]


def _recover(place: Path) -> None:
    for journal in _journals(place):
        try:
            entries = json.loads(journal.read_text(encoding="utf-8"))
            for entry in entries:
                pending = _state(Path(entry["new"])) == entry["made"] and not os.path.lexists(_aside(entry))
                if pending and _state(Path(entry["target"])) != entry["replaced"]:
                    raise InputError(
                        f"{entry['target']}: was changed after 'ml init' was stopped half-way; delete "
                        f"{journal.parent}, then run 'ml init' again or restore your files from git"
                    )
            _apply(entries)
            _finish(journal.parent, entries)
        except OSError as error:
            raise cannot_write(Path(error.filename or place), error) from None


def _apply(entries: list[dict[str, Any]]) -> None:
    """Move each new file to its target, unless that is done; the old file is kept under another name."""
    for entry in entries:
        new, target = Path(entry["new"]), Path(entry["target"])
        if _state(new) != entry["made"]:
            continue
        if os.path.lexists(target) and not exchange(new, target):
            target.rename(_aside(entry))
        if os.path.lexists(new) and not os.path.lexists(target):
            new.rename(target)


def _undo(entries: list[dict[str, Any]]) -> None:
    for entry in entries:
        new, target, aside = Path(entry["new"]), Path(entry["target"]), _aside(entry)
        if _state(target) != entry["made"]:
            replaced = aside if os.path.lexists(aside) else None
        else:
            replaced = new if os.path.lexists(new) else aside if os.path.lexists(aside) else None
            target.rename(new.with_name(f"{new.name}.undone"))
        if replaced:
            replaced.rename(target)


def _finish(work: Path, entries: list[dict[str, Any]]) -> None:
    (work / JOURNAL).unlink()
    for folder in {Path(entry["new"]).parent for entry in entries} | {work}:
        if read_mark(folder) is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _aside(entry: dict[str, Any]) -> Path:
    return Path(f"{entry['new']}.older")


def _state(path: Path) -> list[int] | None:
    """Return what identifies a file after a rename: inode and modification time; None if it does not exist."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return [status.st_ino, status.st_mtime_ns]
