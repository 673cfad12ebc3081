"""Limits on connections before a request reaches the service: heads without end, and clients that never finish.

uvicorn reads a request's head until it is complete, however long that takes and however large it grows. Here each part
of a request has a time and a size, and where too many connections are open, the one that has kept us waiting longest
makes room. A sweep once a second looks at all connections, so that a request costs no timer of its own.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState
from uvicorn_worker import UvicornWorker

HEAD_BYTES, HEADERS = 65_536, 100
SECONDS = {"head": 10.0, "body": 30.0, "answer": 120.0}
CONNECTIONS = 500  # in each worker
REASONS = {408: "Request Timeout", 431: "Request Header Fields Too Large", 503: "Service Unavailable"}


class TooLarge(Exception):
    """The head of a request is larger than we read; raised inside the parser, which hands it to uvicorn."""


class LimitedProtocol(HttpToolsProtocol):  # type: ignore[misc]
    """uvicorn's HTTP protocol with limits. ``part`` is what is awaited: a head, a body, an answer, or nothing."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Make room if need be, and wait for the first head."""
        super().connection_made(transport)
        self.framing, self.carried, self.oversize = 0, False, False
        self.part: str | None = "head"
        self.due = self.loop.time() + SECONDS["head"]
        if len(self.connections) > CONNECTIONS:
            open_ = [c for c in self.connections if isinstance(c, LimitedProtocol)]
            idle = [c for c in open_ if c.part in ("head", None)] or [self]
            min(idle, key=lambda connection: connection.due).refuse(503)
        if not hasattr(self.server_state, "sweep"):
            self.server_state.sweep = None
            _sweep(self.loop, self.server_state)

    def data_received(self, data: bytes) -> None:
        """Parse what came; what is neither a body nor the end of a message is a head or its like, and counted."""
        self.carried, self.moved = False, False
        super().data_received(data)
        if self.part is None:  # blank lines before a request, which begin nothing
            self.part, self.moved = "head", True
        if self.moved:
            self.due = self.loop.time() + SECONDS[self.part]
        if self.part != "answer" and not self.carried:
            self.framing += len(data)
            if self.framing > HEAD_BYTES:
                self.refuse(431)

    def on_message_begin(self) -> None:
        """Wait for a head."""
        super().on_message_begin()
        self.part, self.moved = "head", True

    def on_headers_complete(self) -> None:
        """Wait for the body, if the head is not too large; headers after a body are read by nobody."""
        headers: list[tuple[bytes, bytes]] = self.headers
        if len(headers) > HEADERS or len(self.url) + sum([len(n) + len(v) for n, v in headers]) > HEAD_BYTES:
            self.oversize = True
            raise TooLarge
        super().on_headers_complete()
        self.headers: list[tuple[bytes, bytes]] = []
        self.part, self.moved, self.framing = "body", True, 0

    def on_body(self, body: bytes) -> None:
        """Hand a part of the body on."""
        self.carried = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait for the answer."""
        self.part, self.moved, self.framing = "answer", True, 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for nothing: uvicorn closes a connection that stays idle."""
        if self.part == "answer" and not self.pipeline:
            self.part = None
        super().on_response_complete()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, also when the client has not taken its answer."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        super().timeout_keep_alive_handler()

    def send_400_response(self, msg: str) -> None:
        """Answer a head that cannot be read; one that is too large has a status of its own."""
        if self.oversize:
            self.refuse(431)
        else:
            super().send_400_response(msg)

    def refuse(self, status: int) -> None:
        """Answer in one line and hang up; a client that takes no answer is cut off."""
        if self.transport.is_closing():
            return
        if self.part != "answer":
            head = f"HTTP/1.1 {status} {REASONS[status]}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            self.transport.write(head.encode())
        if self.cycle and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        self.transport.close()


def _sweep(loop: asyncio.AbstractEventLoop, state: ServerState) -> None:
    """Hang up on whoever keeps us waiting, and look again in a second."""
    now = loop.time()
    for connection in list(state.connections):
        if isinstance(connection, LimitedProtocol) and connection.part and now > connection.due:
            connection.refuse(408)
    state.sweep = loop.call_later(1, _sweep, loop, state)


class LimitedWorker(UvicornWorker):  # type: ignore[misc]
    """A worker of gunicorn that serves HTTP within these limits, and no WebSockets."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {"loop": "auto", "http": LimitedProtocol, "ws": "none"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # At INFO uvicorn writes paths with their queries, which may name people.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
