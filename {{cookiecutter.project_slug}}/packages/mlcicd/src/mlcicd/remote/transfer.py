"""Fetch objects whole: in pieces, with further attempts, and with their hash."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from mlcicd.remote import filesystems
from mlcicd.remote.faults import CutError, Fault, explain
from mlcicd.system.outputs import NO_ROOM, cannot_write

WAITS = (1.0, 3.0, 9.0)  # seconds before each further attempt
PIECE = 8 << 20  # bytes that are asked for at once
T = TypeVar("T")


class RemoteError(Exception):
    """An object could not be had."""

    def __init__(self, location: str, fault: Fault) -> None:
        self.location, self.fault = location, fault
        super().__init__(f"{location}: {fault.cause}; {fault.remedy}")


class Found(NamedTuple):
    """An object as its store describes it now; without a size where the server does not say."""

    location: str
    revision: str
    size: int | None


class Fetched(NamedTuple):
    """What was fetched."""

    size: int
    sha256: str


class Place:
    """The server of an address."""

    def __init__(self, location: str, endpoint: str | None = None) -> None:
        self.location, self.endpoint = location, endpoint
        self.limit = filesystems.seconds()
        self.filesystem = filesystems.opened(location, endpoint)

    def find(self, location: str, pinned: str = "") -> Found:
        """Return the object at an address, as it is now, or in a version that its store can be asked for."""
        asked = filesystems.versioned(location, pinned)

        def ask() -> Found:
            try:
                info = filesystems.call(self.filesystem, "info", asked, within=4 * self.limit)
            except Exception as error:
                if explain(error, location).passing:
                    raise
                # The answer to a HEAD has no body: a GET of one byte says whether key or permission are missing.
                filesystems.call(self.filesystem, "cat_file", asked, start=0, end=1, within=4 * self.limit)
                raise
            if info.get("type") == "directory":
                raise FileNotFoundError(location)
            return Found(location, filesystems.revision(info), info.get("size"))

        return attempted(location, ask)

    def parts(self) -> list[str]:
        """Return the addresses of a folder's parts, without hidden files and Spark's marker files."""
        folder, _, pattern = self.location.rpartition("/")
        if folder.startswith("http"):
            raise RemoteError(self.location, Fault("a server of the web lists no folders", "name a file of it"))
        listing = filesystems.opened(self.location, self.endpoint, versions=False)

        def ask() -> list[str]:
            found = filesystems.call(listing, "ls", folder, detail=True, within=10 * self.limit)
            return [entry["name"].rpartition("/")[2] for entry in found if entry["type"] == "file" and entry["size"]]

        names = [name for name in attempted(self.location, ask) if not name.startswith((".", "_"))]
        names = sorted(name for name in names if fnmatchcase(name, pattern or "*"))
        if not names:
            fault = Fault("there is no such file in it", "check the location under 'servers' in contract.yaml")
            raise RemoteError(self.location, fault)
        return [f"{folder}/{name}" for name in names]

    def fetch(self, found: Found, target: Path, pinned: str = "") -> Fetched:
        """Write an object into a new file; ``pinned`` names the version, where the store can be asked for one."""
        location = filesystems.versioned(found.location, pinned)
        # A server of the web may ignore that it is asked for a piece.
        whole = location.startswith("http") or found.size is None
        return self._whole(location, found, target) if whole else self._pieces(location, found.size or 0, target)

    def _pieces(self, location: str, size: int, target: Path) -> Fetched:
        """Fetch pieces; each is asked for again by itself."""
        digest = hashlib.sha256()
        with writing(target), target.open("wb") as file:
            for start in range(0, size, PIECE):
                end = min(start + PIECE, size)
                piece = attempted(location, partial(self._piece, location, start, end, size))
                digest.update(piece)
                file.write(piece)
        return Fetched(size, digest.hexdigest())

    def _piece(self, location: str, start: int, end: int, size: int) -> bytes:
        limit = 10 * self.limit
        piece: bytes = filesystems.call(self.filesystem, "cat_file", location, start=start, end=end, within=limit)
        if len(piece) != end - start:
            raise CutError(start + len(piece), size)
        return piece

    def _whole(self, location: str, found: Found, target: Path) -> Fetched:
        def ask() -> None:
            filesystems.call(self.filesystem, "get_file", location, str(target), within=100 * self.limit)
            got = target.stat().st_size
            if found.size is not None and got < found.size:
                raise CutError(got, found.size)

        with writing(target):
            attempted(location, ask)
        with target.open("rb") as file:
            return Fetched(target.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def attempted(location: str, ask: Callable[[], T]) -> T:
    """Ask a server, and ask again after a while for what may pass by itself.

    Raises
    ------
    RemoteError
        The last attempt failed, or an earlier one for a reason that stays.
    """
    for wait in (*WAITS, None):
        try:
            return ask()
        except Exception as error:
            if isinstance(error, OSError) and error.errno in NO_ROOM:
                raise
            fault = explain(error, location)
            if wait is None or not fault.passing:
                raise RemoteError(location, fault) from None
        time.sleep(wait)
    raise AssertionError("the last attempt returns or raises")


@contextmanager
def writing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise cannot_write(target, error) from None
