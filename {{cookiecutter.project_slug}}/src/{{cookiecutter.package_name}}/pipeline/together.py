"""Replace files and folders that belong together: after a kill at any moment they are all new or all old.

No file system exchanges several names at once. So the new ones are written apart, then a journal says which of them are
to take which name, and from then on they do: a process that is killed meanwhile is finished by the next ``ml``.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import InputError
from .exchange import exchange
from .marks import read_mark
from .outputs import WAIT, cannot_write, locked, private_folder, private_name

JOURNAL = "journal.json"
NAME = "init"


class Replacement:
    """What takes which name. Nothing changes before :meth:`commit`."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.entries: list[dict[str, Any]] = []

    def add(self, target: Path, new: Path) -> None:
        """Let ``new``, a file or folder on the target's file system, take the target's name."""
        entry = {"new": str(new.absolute()), "target": str(target.absolute())}
        self.entries.append(entry | {"made": _state(new), "replaced": _state(target)})

    def commit(self) -> None:
        """Exchange them all; none, where one cannot be."""
        part = self.work / f"{JOURNAL}.part"
        part.write_text(json.dumps(self.entries), encoding="utf-8")
        part.replace(self.work / JOURNAL)
        try:
            _forward(self.entries)
        except KeyboardInterrupt:
            _forward(self.entries)
            _finish(self.work, self.entries)
            raise
        except OSError:
            _back(self.entries)
            (self.work / JOURNAL).unlink()
            raise
        _finish(self.work, self.entries)


@contextmanager
def replacing(root: Path) -> Iterator[Replacement]:
    """Begin to replace files of a project; one process at a time."""
    place, where = root.resolve() / NAME, root / "contract.yaml"
    with locked(place, where, place.parent):
        _recover(place)
        with private_folder(place, where, "file", place.parent) as work:
            yield Replacement(work)


def recover(root: Path) -> None:
    """Finish what a killed process began."""
    place = root.resolve() / NAME
    if not _journals(place):
        return
    with locked(place, root / "contract.yaml", place.parent, WAIT):
        _recover(place)


def _journals(place: Path) -> list[Path]:
    found = place.parent.glob(f"{private_name(NAME, 'work')}*/{JOURNAL}")
    return [path for path in found if read_mark(path.parent) is not None]


def _recover(place: Path) -> None:
    for journal in _journals(place):
        try:
            entries = json.loads(journal.read_text(encoding="utf-8"))
            for entry in entries:
                waits = _state(Path(entry["new"])) == entry["made"] and not os.path.lexists(_aside(entry))
                if waits and _state(Path(entry["target"])) != entry["replaced"]:
                    raise InputError(
                        f"{entry['target']}: was changed after 'ml init' was stopped half-way; delete "
                        f"{journal.parent}, then run 'ml init' again or restore your files from git"
                    )
            _forward(entries)
            _finish(journal.parent, entries)
        except OSError as error:
            raise cannot_write(Path(error.filename or place), error) from None


def _forward(entries: list[dict[str, Any]]) -> None:
    """Give each new one its name, if it has not got it yet; the older one waits under the new one's former name."""
    for entry in entries:
        new, target = Path(entry["new"]), Path(entry["target"])
        if _state(new) != entry["made"]:
            continue
        if os.path.lexists(target) and not exchange(new, target):
            target.rename(_aside(entry))
        if os.path.lexists(new) and not os.path.lexists(target):
            new.rename(target)


def _back(entries: list[dict[str, Any]]) -> None:
    for entry in entries:
        new, target, aside = Path(entry["new"]), Path(entry["target"]), _aside(entry)
        if _state(target) != entry["made"]:
            older = aside if os.path.lexists(aside) else None
        else:
            older = new if os.path.lexists(new) else aside if os.path.lexists(aside) else None
            target.rename(new.with_name(f"{new.name}.undone"))
        if older:
            older.rename(target)


def _finish(work: Path, entries: list[dict[str, Any]]) -> None:
    (work / JOURNAL).unlink()
    for folder in {Path(entry["new"]).parent for entry in entries} | {work}:
        if read_mark(folder) is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _aside(entry: dict[str, Any]) -> Path:
    return Path(f"{entry['new']}.older")


def _state(path: Path) -> list[int] | None:
    """What tells a file from the one that replaces it, also after both have got another name."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    return [found.st_ino, found.st_mtime_ns]
