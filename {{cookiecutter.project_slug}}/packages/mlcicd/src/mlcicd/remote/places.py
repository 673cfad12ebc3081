"""The servers of addresses, by their scheme: Pachyderm, or what fsspec has a file system for."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from mlcicd.remote import pachyderm, transfer
from mlcicd.remote.addresses import scheme
from mlcicd.remote.transfer import Fetched, Found


class Place(Protocol):
    """The server of an address."""

    def find(self, location: str, pinned: str = "") -> Found:
        """Return the object at an address, as it is now, or in a version that its store can be asked for."""

    def parts(self) -> list[str]:
        """Return the addresses of a folder's parts."""

    def fetch(self, found: Found, target: Path, pinned: str = "") -> Fetched:
        """Write an object into a new file; ``pinned`` names the version, where the store can be asked for one."""


def opened(location: str, endpoint: str | None = None) -> Place:
    """Return the server of an address."""
    if scheme(location) == pachyderm.SCHEME:
        return pachyderm.Place(location, endpoint)
    return transfer.Place(location, endpoint)
