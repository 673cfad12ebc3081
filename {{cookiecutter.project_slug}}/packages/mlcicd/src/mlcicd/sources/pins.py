"""What a kind of store answers of a file: its version, whether the bytes here are that version, and how to fetch it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mlcicd.core.errors import InputError

if TYPE_CHECKING:
    from mlcicd.sources.lock import Entry


class NotFetchedError(InputError):
    """A raw file could not be fetched.

    Attributes
    ----------
    of_commit : the message, to be put after the name of a commit
    """

    def __init__(self, name: str, store: str, cause: str, remedy: str) -> None:
        self.of_commit = f"has {name} in {store}, and it could not be fetched ({cause}); {remedy}"
        super().__init__(f"{name}: is in {store}, and it could not be fetched ({cause}); {remedy}")


@dataclass(frozen=True)
class Pin:
    """The version of a raw file that a commit or a working tree names.

    Attributes
    ----------
    store : the kind of store, as a manifest names it: ``git``, ``git-lfs``, ``dvc`` or ``object-storage``
    version : the hash that pins the bytes, such as ``sha256:…``; None where nothing pins them
    pointer : the file that names the version
    location : the address, where the file that names the version has it
    revision : what the store at that address calls the version
    """

    store: str
    version: str | None
    pointer: str
    location: str = ""
    revision: str = ""


class Store(Protocol):
    """A kind of store. Its modules are the instances."""

    NAME: str
    LABEL: str

    def pin(self, root: Path, name: str, commit: str | None) -> Pin | None:
        """Return what pins a file, in a commit or in the working tree; None where another store has it."""

    def unfetched(self, path: Path) -> str | None:
        """Return what there is in place of a file's bytes and how to fetch them, for an error; None if it is here."""

    def differs(self, path: Path, version: str) -> str | None:
        """Return the hash of a file that is here where it is not this version; None where it is, or cannot be told."""

    def pull(self, tree: Path, root: Path, names: Sequence[str]) -> None:
        """Fetch files of a checked-out tree; ``root`` is the project with its settings, often the tree itself.

        Raises
        ------
        NotFetchedError
            A file could not be fetched.
        """


class LockedStore(Store, Protocol):
    """A store whose versions ``data.lock`` names.

    Attributes
    ----------
    SCHEMES : how its addresses begin, such as ``s3``
    """

    SCHEMES: Sequence[str]

    def take(self, root: Path, name: str, location: str, endpoint: str | None) -> Entry:
        """Fetch what is at an address now, put it in its place, and return what pins it."""


def sha256(path: Path) -> str | None:
    """Return the SHA-256 of a file, or of a folder's file names and files; None where there is neither."""
    if path.is_dir():
        files = "".join(f"{p.name} {sha256(p)}\n" for p in sorted(path.iterdir()) if p.is_file())
        return hashlib.sha256(files.encode()).hexdigest()
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
