"""A repository of Pachyderm as a place: ``pachyderm://PROJECT/REPO@BRANCH/PATH``, read at one commit."""

from __future__ import annotations

import hashlib
import os
import queue
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from mlcicd.core.errors import InputError
from mlcicd.remote import filesystems
from mlcicd.remote.addresses import LOOPBACK
from mlcicd.remote.faults import CutError, Fault
from mlcicd.remote.transfer import Fetched, Found, RemoteError, attempted, writing

SCHEME = "pachyderm"
TOKEN = "PACH_PYTHON_AUTH_TOKEN"  # noqa: S105 - the variable that Pachyderm's client reads
ADDRESS = re.compile(r"pachyderm://([\w-]+)/([\w.-]+)@([\w.-]+)/(.+)")
# What gRPC's codes mean, in the words of HTTP, which `faults` knows.
STATUS = {
    **{"UNAUTHENTICATED": "401", "PERMISSION_DENIED": "403", "NOT_FOUND": "404", "RESOURCE_EXHAUSTED": "429"},
    **{"UNAVAILABLE": "503", "ABORTED": "503", "INTERNAL": "500", "UNKNOWN": "500", "DATA_LOSS": "500"},
}
T = TypeVar("T")


class PachydermError(Exception):
    """What a server of Pachyderm answered instead; ``code`` is a status of HTTP, and its words are left out."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


class Place:
    """A folder of a repository, at the commit that its branch has when it is first asked."""

    def __init__(self, location: str, endpoint: str | None = None) -> None:
        found = ADDRESS.fullmatch(location)
        if not found:
            raise InputError(f"{location}: is no address such as pachyderm://default/sales@master/2026/*.parquet")
        self.location, self.limit = location, filesystems.seconds()
        self.project, self.repo, self.branch = found[1], found[2], found[3]
        self.client = _client(location, endpoint)
        self.commit = ""

    def find(self, location: str, pinned: str = "") -> Found:
        """Return the file at an address: at the pinned commit, or at the branch's newest."""
        identifier = pinned.removeprefix("commit:") or self._head()

        def ask() -> Found:
            from pachyderm_sdk.api.pfs import FileType

            info = self._unary(lambda: self.client.pfs.inspect_file(file=self._file(location, identifier)))
            if info.file_type == FileType.DIR:
                raise PachydermError("404")
            return Found(location, f"commit:{identifier}", info.size_bytes)

        return attempted(location, ask)

    def parts(self) -> list[str]:
        """Return the addresses of a folder's parts, at one commit."""
        folder, _, pattern = self.location.rpartition("/")
        commit = self._head()

        def ask() -> list[str]:
            from pachyderm_sdk.api.pfs import FileType

            listed = self.client.pfs.list_file(file=self._file(f"{folder}/", commit))
            return [info.file.path for info in self._stream(listed) if info.file_type == FileType.FILE]

        names = [path.rpartition("/")[2] for path in attempted(self.location, ask)]
        names = sorted(name for name in names if not name.startswith((".", "_")) and fnmatchcase(name, pattern or "*"))
        if not names:
            fault = Fault("there is no such file in it", "check the location under 'servers' in contract.yaml")
            raise RemoteError(self.location, fault)
        return [f"{folder}/{name}" for name in names]

    def fetch(self, found: Found, target: Path, pinned: str = "") -> Fetched:
        """Write a file of a commit into a new file."""
        identifier = (pinned or found.revision).removeprefix("commit:")

        def ask() -> Fetched:
            digest, size = hashlib.sha256(), 0
            stream = self.client.pfs.get_file(file=self._file(found.location, identifier))
            with target.open("wb") as file:
                for piece in self._stream(stream):
                    digest.update(piece.value)
                    size += file.write(piece.value)
            if found.size is not None and size != found.size:
                raise CutError(size, found.size)  # a stream that was cut may end as one that is over
            return Fetched(size, digest.hexdigest())

        with writing(target):
            return attempted(found.location, ask)

    def _head(self) -> str:
        """Return the branch's newest commit, the same for all parts; what is being written is waited for."""
        if not self.commit:
            from pachyderm_sdk.api import pfs

            branch = pfs.Branch(repo=self._repo(), name=self.branch)
            asked = pfs.Commit(repo=self._repo(), branch=branch)
            inspect = partial(self.client.pfs.inspect_commit, commit=asked, wait=pfs.CommitState.FINISHED)
            info = attempted(self.location, lambda: self._unary(inspect))
            if info.error:  # of a pipeline's output; its files are not whole
                fault = Fault(f"commit {info.commit.id[:12]} failed in Pachyderm", "repair its pipeline, or revert it")
                raise RemoteError(self.location, fault)
            self.commit = info.commit.id
        return self.commit

    def _repo(self) -> Any:
        from pachyderm_sdk.api import pfs

        return pfs.Repo(name=self.repo, type="user", project=pfs.Project(name=self.project))

    def _file(self, location: str, commit: str) -> Any:
        from pachyderm_sdk.api import pfs

        path = location.partition("://")[2].split("/", 2)[2]
        return pfs.File(commit=pfs.Commit(repo=self._repo(), id=commit), path=f"/{path}")

    def _unary(self, ask: Callable[[], T]) -> T:
        return next(self._stream(ask() for _ in range(1)))

    def _stream(self, answers: Iterable[T]) -> Iterator[T]:
        """Yield what a server answers, as long as it is not silent for too long; its client waits for ever."""
        arrived: queue.Queue[tuple[bool, Any]] = queue.Queue(maxsize=8)
        given_up = threading.Event()

        def read() -> None:
            try:
                for answer in answers:
                    arrived.put((False, answer))
                    if given_up.is_set():
                        return
                arrived.put((True, None))
            except Exception as error:
                arrived.put((True, error))

        threading.Thread(target=read, daemon=True).start()
        try:
            while True:
                try:
                    over, answer = arrived.get(timeout=self.limit)
                except queue.Empty:
                    raise TimeoutError from None
                if over and answer is not None:
                    raise _translated(answer)
                if over:
                    return
                yield answer
        finally:
            given_up.set()


def _client(location: str, endpoint: str | None) -> Any:
    if not endpoint:
        raise InputError(f"{location}: needs its server: endpointUrl: https://… beside the location in contract.yaml")
    if urlsplit(endpoint).scheme == "http" and urlsplit(endpoint).hostname not in LOOPBACK and os.environ.get(TOKEN):
        raise InputError(f"{location}: {TOKEN} would go to {endpoint} unencrypted; write https://")
    try:
        from pachyderm_sdk import Client
    except ImportError:
        raise InputError(
            f"{location}: {SCHEME}:// needs pachyderm-sdk, which is not installed; run 'uv add --group "
            "object-storage pachyderm-sdk'"
        ) from None
    return Client.from_pachd_address(endpoint)


def _translated(error: Exception) -> Exception:
    """Return an error that ``faults`` knows: the words of a server's own may hold anything."""
    code = getattr(error, "code", None)
    if isinstance(error, ConnectionError) or not callable(code):
        return error
    name, said = code().name, str(getattr(error, "details", lambda: "")()).lower()
    if name in ("UNKNOWN", "INTERNAL") and "not found" in said:
        name = "NOT_FOUND"  # as pachd says it of a path in some versions
    if name in ("DEADLINE_EXCEEDED", "CANCELLED"):
        return TimeoutError()
    return PachydermError(STATUS.get(name, "400"))
