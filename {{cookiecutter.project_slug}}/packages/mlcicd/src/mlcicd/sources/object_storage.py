"""Raw files in object storage or on the web: ``data.lock`` pins each by its version there and by its hash."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from mlcicd.core.errors import InputError
from mlcicd.core.yaml_io import regular_file
from mlcicd.remote import addresses, transfer
from mlcicd.remote.places import Place, opened
from mlcicd.sources import lock
from mlcicd.sources.lock import Entry, Locked
from mlcicd.sources.pins import NotFetchedError, Pin, sha256
from mlcicd.system.git import git
from mlcicd.system.outputs import locked, private_folder

NAME, LABEL = "object-storage", "object storage"
SCHEMES: Sequence[str] = ("s3", "gs", "az", "https", "http", "pachyderm")
WAIT = 600.0  # seconds for another pull of the same file


def pin(root: Path, name: str, commit: str | None) -> Pin | None:
    """Return the version that the lock names."""
    entry = _entries(root, commit).get(name)
    return Pin(NAME, entry.version, lock.FILE, entry.location, entry.revision) if entry else None


def unfetched(path: Path) -> str | None:
    """Recognise a file, or a part of a folder, that the lock around it names and that is not here."""
    if path.exists() and not path.is_dir():
        return None
    here = Path(os.path.abspath(path))  # noqa: PTH100 - a link is named as it is
    root = next((parent for parent in here.parents if (parent / lock.FILE).is_file()), None)
    entry = _entries(root, None).get(here.relative_to(root).as_posix()) if root else None
    if entry is None:
        return None
    if not path.exists():
        return f"is at {entry.location}, and is not here; fetch it with 'ml data pull'"
    missing = next((name for name in entry.parts or {} if not (path / name).exists()), None)
    return f"lacks {missing}, which is at {entry.location}; fetch it with 'ml data pull'" if missing else None


def differs(path: Path, version: str) -> str | None:
    """Compare the hash of the bytes, or of all parts, with the lock's."""
    found = f"sha256:{sha256(path)}"
    return None if found == version else found


def pull(tree: Path, root: Path, names: Sequence[str]) -> None:
    """Fetch the versions that a tree's lock pins, or copy those that the project has already."""
    for name, entry in _entries(tree, None).items():
        if name not in names:
            continue
        target = regular_file(tree, name, lock.FILE)
        with locked(target.absolute(), target, target.absolute().parent, WAIT):
            if f"sha256:{sha256(target)}" == entry.version:
                continue
            _keep(tree, name)
            with private_folder(target.absolute(), target, "file", target.absolute().parent) as work:
                new = work / target.name
                if tree.resolve() != root.resolve() and f"sha256:{sha256(root / name)}" == entry.version:
                    (shutil.copytree if (root / name).is_dir() else shutil.copyfile)(root / name, new)
                else:
                    _fetch_pinned(name, entry, new)
                _publish(new, target, work)


def take(root: Path, name: str, location: str, endpoint: str | None) -> Entry:
    """Fetch what is at an address now, put it in its place, and return what pins it.

    Raises
    ------
    NotFetchedError
        It could not be fetched, or changed meanwhile.
    InputError
        The file that is here was never pinned, and would be lost.
    """
    target = regular_file(root, name, "contract.yaml")
    place, near = target.absolute(), target.absolute().parent
    with locked(place, target, near, WAIT), private_folder(place, target, "file", near) as work:
        new = work / target.name
        entry = _fetch_latest(name, location, endpoint, new)
        if f"sha256:{sha256(target)}" != entry.version:
            _keep(root, name)
            _publish(new, target, work)
    return entry


def _entries(root: Path, commit: str | None) -> dict[str, Entry]:
    return {name: e for name, e in lock.read(root, commit).items() if addresses.scheme(e.location) in SCHEMES}


def _fetch_latest(name: str, location: str, endpoint: str | None, new: Path) -> Entry:
    try:
        place = opened(location, endpoint)
        if not addresses.is_folder(location):
            return Entry(location=location, endpoint=endpoint, file=_latest(place, name, location, new))
        new.mkdir()
        parts = {part.rpartition("/")[2]: part for part in place.parts()}
        return Entry(
            location=location,
            endpoint=endpoint,
            parts={part: _latest(place, name, there, new / part) for part, there in parts.items()},
        )
    except transfer.RemoteError as error:
        raise NotFetchedError(name, error.location, error.fault.cause, error.fault.remedy) from None


def _latest(place: Place, name: str, location: str, new: Path) -> Locked:
    found = place.find(location)
    fetched = place.fetch(found, new, found.revision)
    if found.revision.startswith(("etag:", "last-modified:")) and place.find(location) != found:
        raise NotFetchedError(name, location, "it was changed while it was fetched", "run 'ml data pin' again")
    return Locked(revision=found.revision, size=fetched.size, sha256=fetched.sha256)


def _fetch_pinned(name: str, entry: Entry, new: Path) -> None:
    try:
        place = opened(entry.location, entry.endpoint)
        if entry.file:
            _pinned(place, name, entry.location, entry.file, new)
            return
        new.mkdir()
        folder = entry.location.rpartition("/")[0]
        for part, pinned in (entry.parts or {}).items():
            _pinned(place, name, f"{folder}/{part}", pinned, new / part)
    except transfer.RemoteError as error:
        raise NotFetchedError(name, error.location, error.fault.cause, error.fault.remedy) from None


def _pinned(place: Place, name: str, location: str, pinned: Locked, new: Path) -> None:
    """Fetch one object; other bytes than those that are pinned are refused, whatever the store calls them."""
    found = place.find(location, pinned.revision)
    other = ""
    if found.size in (None, pinned.size):
        fetched = place.fetch(found, new, pinned.revision)
        if fetched.sha256 == pinned.sha256:
            return
        other = f"sha256 {fetched.sha256[:12]}…"
    there = " with ".join(filter(None, (found.revision, other or f"{found.size:,} bytes")))
    here = " with ".join(
        filter(None, (pinned.revision, f"sha256 {pinned.sha256[:12]}…" if other else f"{pinned.size:,} bytes"))
    )
    cause = f"its bytes were changed: there it is {there}, and {lock.FILE} pins {here}"
    raise NotFetchedError(name, location, cause, "take them with 'ml data pin', or upload the pinned ones again")


def _keep(root: Path, name: str) -> None:
    """Refuse to replace bytes that no lock ever pinned: nobody could fetch them again."""
    target = root / name
    files = sorted(path for path in target.iterdir() if path.is_file()) if target.is_dir() else [target]
    now = (root / lock.FILE).read_text(encoding="utf-8") if (root / lock.FILE).is_file() else ""
    for file in files:
        digest = sha256(file)
        ever = digest is None or digest in now
        if not ever and not git(root, "log", "--all", "-1", "--format=%h", f"-S{digest}", "--", lock.FILE):
            raise InputError(
                f"{file.relative_to(root).as_posix()}: is not what {lock.FILE} pins, and no commit pins it; upload "
                "it, or move it away, then try again"
            )


def _publish(new: Path, target: Path, work: Path) -> None:
    """Put a file or a folder into its place; what was there can be fetched again."""
    if target.is_dir():
        target.rename(work / "old")
    new.rename(target) if new.is_dir() else new.replace(target)
