"""A server of Git LFS, and of a remote of DVC over HTTP, which delivers, or fails in a way that a test names.

It hides what servers do beyond a download: locks, uploads, other ways of transfer, proxies, and TLS.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import ThreadingHTTPServer

from stand_in import Handler

LFS = "application/vnd.git-lfs+json"


@contextmanager
def serving(files: Mapping[str, bytes], fault: str = "") -> Iterator[str]:
    """Serve files by their hash; yield host and port.

    A fault is a status, or ``half``: the connection ends within a file; ``changed``: other bytes of the same length;
    ``hang``: a download begins, and no byte follows.
    """
    hanging = threading.Event()

    class Server(Handler):
        def do_POST(self) -> None:  # noqa: N802 - the library names it
            asked = json.loads(self.body())["objects"]
            if fault.isdigit():
                return self.answer(int(fault), b'{"message": "not for you"}', LFS)
            address = f"http://{self.headers['Host']}/files"
            known = [one | {"actions": {"download": {"href": f"{address}/{one['oid']}"}}} for one in asked]
            return self.answer(200, json.dumps({"transfer": "basic", "objects": known}).encode(), LFS)

        def do_HEAD(self) -> None:  # noqa: N802
            self.do_GET(body=False)

        def do_GET(self, body: bool = True) -> None:  # noqa: N802
            content = next((files[name] for name in files if self.path.replace("/", "").endswith(name)), None)
            if fault.isdigit() or content is None:
                return self.answer(int(fault or 404), b"{}")
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if not body:
                return None
            if fault == "hang":
                hanging.wait(60)
            elif fault == "half":
                self.wfile.write(content[: len(content) // 2])
            else:
                self.wfile.write(content[::-1] if fault == "changed" else content)
            self.close_connection = fault != ""
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        hanging.set()
        server.shutdown()
        server.server_close()
