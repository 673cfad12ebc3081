"""S3 by moto's server, and a web server that can be told to fail; both on loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from stand_in import Handler

TOOLS = Path(__file__).parent / ".venv" / "tools"
MOTO = "moto[server]==5.2.5"
# What no output may show.
PLANTED = {"AWS_ACCESS_KEY_ID": "AKIAPLANTED", "AWS_SECRET_ACCESS_KEY": "pLaNtEdSeCrEt/0123456789+abcdefghijk"}


class S3:
    """A running server, and its owner's client."""

    def __init__(self, url: str) -> None:
        import botocore.session

        self.url = url
        own = {"aws_access_key_id": "owner", "aws_secret_access_key": "owner", "region_name": "us-east-1"}
        make = partial(botocore.session.get_session().create_client, endpoint_url=url, **own)
        self.client, self.iam = make("s3"), make("iam")

    def bucket(self, name: str, versions: bool) -> None:
        self.client.create_bucket(Bucket=name)
        if versions:
            self.client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})

    def put(self, bucket: str, key: str, content: bytes) -> str:
        """Upload an object; return its version."""
        return self.client.put_object(Bucket=bucket, Key=key, Body=content).get("VersionId", "")

    @contextmanager
    def strict(self) -> Iterator[None]:
        """Check signatures and permissions, which moto does not do by default."""
        self._free(0)
        try:
            yield
        finally:
            self._free(10**9)

    def _free(self, actions: int) -> None:
        head = {"Content-Type": "text/plain"}
        request = urllib.request.Request(f"{self.url}/moto-api/reset-auth", str(actions).encode(), head, method="POST")
        urllib.request.urlopen(request, timeout=30).close()


@contextmanager
def s3(folder: Path) -> Iterator[S3]:
    own = {"UV_TOOL_DIR": str(TOOLS), "UV_TOOL_BIN_DIR": str(TOOLS / "bin")}
    subprocess.run(["uv", "tool", "install", "--quiet", MOTO], check=True, env=os.environ | own)
    port = free_port()
    free = {"INITIAL_NO_AUTH_ACTION_COUNT": str(10**9)}
    with (folder / "moto.log").open("w") as log:
        command = [str(TOOLS / "bin/moto_server"), "-H", "127.0.0.1", "-p", str(port)]
        server = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | free)
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert server.poll() is None, (folder / "moto.log").read_text(encoding="utf-8")
            time.sleep(0.1)
        yield S3(f"http://127.0.0.1:{port}")
    finally:
        server.terminate()
        server.wait(10)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def silent() -> Iterator[str]:
    """A server that takes every connection and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(50)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


class Web(Handler):
    """Serves ``files``; ``failures`` is how many answers fail first, and ``how``: a status, or ``cut``."""

    files: dict[str, bytes]
    failures: int
    how: int | str

    def do_GET(self) -> None:  # noqa: N802 - the library's name
        content = self.server.files.get(self.path)  # type: ignore[attr-defined]
        if content is None:
            self.answer(404, b"")
        elif self.server.failures > 0:  # type: ignore[attr-defined]
            self.server.failures -= 1  # type: ignore[attr-defined]
            self._fail(content)
        else:
            self._send(content, content)

    def do_HEAD(self) -> None:  # noqa: N802 - the library's name
        content = self.server.files.get(self.path)  # type: ignore[attr-defined]
        if content is None:
            self.answer(404, b"")
        else:
            self._send(content, b"")

    def _send(self, content: bytes, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{len(content)}-{sum(content)}"')
        self.end_headers()
        self.wfile.write(body)

    def _fail(self, content: bytes) -> None:
        how = self.server.how  # type: ignore[attr-defined]
        if how == "cut":
            self._send(content, content[: len(content) // 2])
            self.close_connection = True
        else:
            self.answer(how, b"")


@contextmanager
def web() -> Iterator[Any]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    server.files, server.failures, server.how = {}, 0, "cut"  # type: ignore[attr-defined]
    server.url = f"http://127.0.0.1:{server.server_port}"  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
