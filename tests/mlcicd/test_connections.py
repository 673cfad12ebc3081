"""Clients that send heads without end or never finish, on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from mlcicd.serving import front
from mlcicd.serving import http_limits as limits

GOOD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Read the body and answer its size; a path with `slow` in it waits first, one with `large` answers much."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    if "slow" in scope["path"]:
        await asyncio.sleep(2.5)
    content = b"x" * 50_000_000 if "large" in scope["path"] else str(size).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(content))]})
    await send({"type": "http.response.body", "body": content})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server with these limits, at short times."""
    monkeypatch.setattr(limits, "SECONDS", {"head": 1.0, "body": 1.0, "answer": 4.0})
    monkeypatch.setattr(limits, "CONNECTIONS", 20)
    listening = socket.create_server(("127.0.0.1", 0))
    options: dict[str, Any] = {"http": limits.LimitedProtocol, "ws": "none", "lifespan": "off", "log_level": "error"}
    server = uvicorn.Server(uvicorn.Config(application, timeout_keep_alive=2, **options))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield listening.getsockname()[1]
    server.should_exit = True
    thread.join(10)


@contextlib.contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        yield client


def answer(client: socket.socket) -> bytes:
    """Everything until the server hangs up."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while part := client.recv(65536):
            received += part
    return received


def ask(port: int) -> bytes:
    with connected(port) as client:
        client.sendall(GOOD)
        return client.recv(1000)


def flood(client: socket.socket, part: bytes, times: int) -> int:
    """Send until the server hangs up; return the bytes that it took."""
    sent = 0
    with contextlib.suppress(OSError):
        for _ in range(times):
            client.sendall(part)
            sent += len(part)
    return sent


HEADS = {
    "a value": (b"GET / HTTP/1.1\r\nX: ", b"a" * 65536),
    "a name": (b"GET / HTTP/1.1\r\n", b"a" * 65536),
    "a path": (b"GET /", b"a" * 65536),
    "many headers": (b"GET / HTTP/1.1\r\n", b"a: b\r\n" * 10_000),
    "blank lines": (b"", b"\r\n" * 32768),
    "a trailer": (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX: ", b"a" * 65536),
    "many trailers": (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n", b"a: b\r\n" * 10_000),
    "a chunk's extension": (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2;", b"a" * 65536),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_head_without_end_is_cut_off(port: int, name: str):
    start, part = HEADS[name]
    with connected(port) as client:
        client.sendall(start)
        assert flood(client, part, 800) < 40_000_000  # what socket buffers hold; 52 MB were on offer
    assert b"200 OK" in ask(port)


@pytest.mark.parametrize("head", [b"X: " + b"a" * 70_000, b"a: b\r\n" * 101 + b"c: d"])
def test_a_head_too_large_at_once_is_refused_by_its_own_status(port: int, head: bytes):
    with connected(port) as client:
        client.sendall(b"GET / HTTP/1.1\r\n" + head + b"\r\n\r\n")
        assert answer(client).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "part",
    [
        b"",
        b"POST / HT",
        b"POST / HTTP/1.1\r\nHost: x\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhi",
        GOOD + b"POST / HT",
        b"\r\n",
    ],
)
def test_who_never_finishes_is_hung_up_on(port: int, part: bytes):
    with connected(port) as client:
        client.sendall(part)
        received = answer(client)  # returns when the server hangs up
    assert b"408" in received or part.startswith(GOOD)


def test_a_byte_a_second_does_not_keep_a_head_open(port: int):
    with connected(port) as client:
        client.sendall(b"POST / HTTP/1.1\r\n")
        assert flood_slowly(client) < 12


def flood_slowly(client: socket.socket) -> int:
    """Send a byte every quarter of a second; return how many were taken before the server hung up."""
    for number in range(40):
        try:
            client.sendall(b"a")
            time.sleep(0.25)
        except OSError:
            return number
    return 40


def test_a_slow_answer_is_waited_for_and_a_connection_serves_many(port: int):
    with connected(port) as client:
        for path in (b"/", b"/slow", b"/"):
            client.sendall(GOOD.replace(b" / ", b" " + path + b" "))
            assert client.recv(1000).startswith(b"HTTP/1.1 200")


def test_two_requests_at_once_are_both_answered(port: int):
    with connected(port) as client:
        client.sendall(GOOD + GOOD)
        received = b""
        while received.count(b"200 OK") < 2:
            received += client.recv(1000)


@pytest.mark.slow
def test_who_takes_no_answer_is_cut_off(port: int):
    with connected(port) as client:
        client.sendall(GOOD.replace(b" / ", b" /large "))
        time.sleep(6)
        assert len(answer(client)) < 50_000_000


def test_when_too_many_are_open_the_longest_idle_makes_room(port: int):
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connected(port)) for _ in range(25)]
        assert b"200 OK" in ask(port)
        slow[-1].sendall(GOOD)
        assert b"200 OK" in slow[-1].recv(1000)


def test_no_websocket_is_opened(port: int):
    with connected(port) as client:
        upgrade = (
            b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n"
        )
        client.sendall(b"GET /predict?ssn=1 HTTP/1.1\r\nHost: x\r\n" + upgrade + b"\r\n")
        assert b"101 Switching" not in client.recv(1000)


def test_no_websocket_reaches_what_the_owner_mounts() -> None:
    sent: list[dict[str, Any]] = []

    async def never(*_: Any) -> None:
        raise AssertionError("was asked")

    async def send(message: Any) -> None:
        sent.append(message)

    middleware = front.Front(never, SimpleNamespace(apis={}), frozenset(), internal=False)
    asyncio.run(middleware({"type": "websocket", "path": "/chat"}, never, send))  # type: ignore[arg-type]
    assert sent == [{"type": "websocket.close", "code": 1008}]
