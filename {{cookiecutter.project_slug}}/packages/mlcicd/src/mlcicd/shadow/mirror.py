"""Send copies of answered requests to another version of the service, and count how its answers compare.

The thread that answers requests does no more than put a reference into a bounded queue. A thread of its own sends the
copies, one at a time, and then rests so long that it takes no more than a fiftieth of a core: where more requests come,
it compares a part of them. While the shadow does not answer, nothing is queued.
"""

from __future__ import annotations

import http.client
import logging
import os
import re
import secrets
import sys
import threading
import time
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from pydantic_core import from_json, to_json

from mlcicd.shadow.backlog import Backlog
from mlcicd.shadow.names import AWAY, COMPARED, DROPPED, UNREACHABLE, UNREADABLE, VARIABLE
from mlcicd.shadow.pair_metrics import ROWS, PairMetrics

LOG = logging.getLogger("ml.service")
# Marks a copy, and names its request in the logs of both. A copy is not copied again.
HEADER = "ml-copy"
COPIES, BYTES = 256, 4_000_000  # that may wait
SECONDS = 2.0  # for a connection, and for each part of an answer
ANSWER = 10_000_000  # bytes
REST = 49  # times as long as the thread has computed
RETRY = 1.0, 15.0  # seconds until a shadow that is away is tried again: at first, and at most
TIMING = re.compile(r"answer;dur=([0-9.]{1,12})")
IDENTIFIER = re.compile(r"[0-9a-f]{16}")


class Copy(NamedTuple):
    """A request that was answered, what it was answered, and how long that took.

    Attributes
    ----------
    seconds : from the body's last byte to the answer, without the network
    """

    identifier: str
    path: str
    content_type: str
    body: bytes
    answers: list[dict[str, Any]]
    seconds: float


class Address(NamedTuple):
    """Where the shadow listens."""

    host: str
    port: int | None
    encrypted: bool


def address() -> Address | None:
    """Return the address that the environment names; None where there is no shadow.

    A wrong one ends the process, as a wrong token does.
    """
    text = os.environ.get(VARIABLE, "")
    if not text:
        return None
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or text.rstrip("/") != f"{parts.scheme}://{parts.netloc}":
        print(f"{VARIABLE}: write an address such as http://model-shadow:80, without a path", file=sys.stderr)
        sys.exit(2)
    if "@" in parts.netloc:
        print(f"{VARIABLE}: name no password; the shadow gets ML_SERVICE_TOKEN", file=sys.stderr)
        sys.exit(2)
    return Address(host, port, parts.scheme == "https")


def identifier(given: str | None) -> str | None:
    """Return the name of a copy from its header; None where the request is no copy."""
    return given if given and IDENTIFIER.fullmatch(given) else None


def timing(seconds: float) -> str:
    """Return how long an answer took, as the value of a ``Server-Timing`` header."""
    return f"answer;dur={1000 * seconds:.3f}"


class Mirror:
    """One worker's mirror. Its thread starts with the first copy, since workers are forked."""

    def __init__(self, shadow: Address, token: str, metrics: PairMetrics) -> None:
        self._shadow, self._metrics = shadow, metrics
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._backlog: Backlog[Copy] = Backlog(COPIES, BYTES)
        self._thread: threading.Thread | None = None
        self._connection: http.client.HTTPConnection | None = None
        self._away_until, self._retry = 0.0, RETRY[0]

    def offer(self, path: str, content_type: str, body: bytes, answers: list[dict[str, Any]], seconds: float) -> str:
        """Queue a copy if there is room for it; return its name. It never waits for the shadow."""
        name = secrets.token_hex(8)
        if time.monotonic() < self._away_until:
            self._metrics.count(AWAY)
        elif not self._backlog.offer(Copy(name, path, content_type, body, answers, seconds), len(body)):
            self._metrics.count(DROPPED)
        elif self._thread is None:
            self._thread = threading.Thread(target=self._work, name="mirror", daemon=True)
            self._thread.start()
        return name

    def _work(self) -> None:
        while True:
            copy = self._backlog.take()
            began = time.thread_time()
            try:
                outcome = self._send(copy)
            except (OSError, http.client.HTTPException) as error:
                outcome = UNREACHABLE
                self._leave(error)
            except Exception as error:  # the thread must outlive whatever a shadow answers
                outcome = UNREADABLE
                self._close()
                LOG.warning("the shadow's answer is unreadable", extra={"fields": {"error": type(error).__name__}})
            else:
                self._retry = RETRY[0]
            self._metrics.count(outcome)
            time.sleep(REST * (time.thread_time() - began))

    def _send(self, copy: Copy) -> str:
        """Send a copy and compare its answer; return what became of it."""
        headers = {**self._headers, "Content-Type": copy.content_type, HEADER: copy.identifier}
        began = time.perf_counter()
        status, body, measured = self._ask(copy, headers)
        took = time.perf_counter() - began
        if status != http.client.OK:
            return str(status)
        answer = from_json(body)
        version = str(answer["model_version"])[:100]
        # Both sides as they are in JSON: a class may be the key of an object.
        running = from_json(to_json(copy.answers[:ROWS])) + copy.answers[ROWS:]
        self._metrics.compare(version, running, answer["predictions"])
        self._metrics.time(version, copy.seconds, took if measured is None else measured)
        return COMPARED

    def _ask(self, copy: Copy, headers: dict[str, str]) -> tuple[int, bytes, float | None]:
        """Return status and body of the shadow's answer, and how long it says that it took."""
        fresh = self._connection is None
        connection = self._connection = self._connection or self._connect()
        try:
            connection.request("POST", copy.path, copy.body, headers)
            response = connection.getresponse()
        except (ConnectionError, http.client.RemoteDisconnected):
            self._close()
            if fresh:
                raise
            return self._ask(copy, headers)  # an idle connection that the shadow has closed
        body = b""
        due = time.monotonic() + SECONDS
        while part := response.read1(65_536):
            body += part
            if len(body) > ANSWER or time.monotonic() > due:
                raise http.client.HTTPException("the answer is too long, or too slow")
        response.close()  # the connection stays open
        found = TIMING.search(response.headers.get("Server-Timing", ""))
        if response.will_close:
            self._close()
        return response.status, body, float(found[1]) / 1000 if found else None

    def _connect(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._shadow.encrypted else http.client.HTTPConnection
        return kind(self._shadow.host, self._shadow.port, timeout=SECONDS)

    def _leave(self, error: Exception) -> None:
        """Queue nothing for a while, and forget what waits."""
        self._close()
        if self._retry == RETRY[0]:
            LOG.warning("the shadow does not answer", extra={"fields": {"error": type(error).__name__}})
        self._away_until = time.monotonic() + self._retry
        self._retry = min(2 * self._retry, RETRY[1])
        for _ in range(len(self._backlog)):
            self._backlog.take()
            self._metrics.count(AWAY)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
