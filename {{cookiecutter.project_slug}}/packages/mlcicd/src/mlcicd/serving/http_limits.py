"""Limits on connections, applied before a request reaches the service.

uvicorn reads the head of a request without a limit of time or size. Here each part of a request has both, and if too
many connections are open, the one that is most overdue is closed. One sweep per second checks all connections, so that
a request needs no timer of its own.
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
    """The head of a request is too large. The parser passes this on to uvicorn."""


class LimitedProtocol(HttpToolsProtocol):  # type: ignore[misc]
    """uvicorn's HTTP protocol with limits. ``part`` is awaited until ``due``: head, body, answer or None."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Close another connection if there are too many, and wait for the first head."""
        super().connection_made(transport)
        self.head_bytes, self.has_body, self.oversize = 0, False, False
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
        """Parse what was received, and count the bytes that belong to no body: heads, trailers, sizes of chunks."""
        self.has_body, self.progressed = False, False
        super().data_received(data)
        if self.part is None:  # blank lines before a request
            self.part, self.progressed = "head", True
        if self.progressed:
            self.due = self.loop.time() + SECONDS[self.part]
        if self.part != "answer" and not self.has_body:
            self.head_bytes += len(data)
            if self.head_bytes > HEAD_BYTES:
                self.refuse(431)

    def on_message_begin(self) -> None:
        """Wait for a head."""
        super().on_message_begin()
        self.part, self.progressed = "head", True

    def on_headers_complete(self) -> None:
        """Wait for the body if the head is not too large; trailers are ignored."""
        headers: list[tuple[bytes, bytes]] = self.headers
        if len(headers) > HEADERS or len(self.url) + sum([len(n) + len(v) for n, v in headers]) > HEAD_BYTES:
            self.oversize = True
            raise TooLarge
        super().on_headers_complete()
        self.headers: list[tuple[bytes, bytes]] = []
        self.part, self.progressed, self.head_bytes = "body", True, 0

    def on_body(self, body: bytes) -> None:
        """Pass on a part of the body."""
        self.has_body = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait for the answer."""
        self.part, self.progressed, self.head_bytes = "answer", True, 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Stop waiting: uvicorn closes idle connections itself."""
        if self.part == "answer" and not self.pipeline:
            self.part = None
        super().on_response_complete()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, also if the client has not read the whole answer."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        super().timeout_keep_alive_handler()

    def send_400_response(self, msg: str) -> None:
        """Reject an invalid head with 400, and one that is too large with 431."""
        if self.oversize:
            self.refuse(431)
        else:
            super().send_400_response(msg)

    def refuse(self, status: int) -> None:
        """Send an empty response and close the connection, without waiting for the client to read it."""
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
    """Close overdue connections, and repeat after a second."""
    now = loop.time()
    for connection in list(state.connections):
        if isinstance(connection, LimitedProtocol) and connection.part and now > connection.due:
            connection.refuse(408)
    state.sweep = loop.call_later(1, _sweep, loop, state)


class LimitedWorker(UvicornWorker):  # type: ignore[misc]
    """A gunicorn worker that serves HTTP with these limits, and no WebSockets."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {"loop": "auto", "http": LimitedProtocol, "ws": "none"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # At INFO uvicorn logs paths with their queries, which may contain personal data.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
