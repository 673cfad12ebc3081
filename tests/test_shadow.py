"""The real service with a shadow that hangs, fails, is gone or answers: its own answers stay the same.

How little a mirror costs is no matter for a test; here an answer must not wait for the shadow.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
from conftest import Project
from test_service import ROW, Server, running

TOKEN = "only-the-tests-know-it"
AUTHORIZATION = {"Authorization": f"Bearer {TOKEN}"}
ROWS = 300  # more requests than copies may wait


class Shadow(BaseHTTPRequestHandler):
    """Another version on loopback; it answers as the running test says."""

    protocol_version = "HTTP/1.1"
    respond: Callable[[Shadow, list[dict[str, Any]]], tuple[int, object]]
    seen: ClassVar[list[tuple[str, str, str]]] = []

    def do_POST(self) -> None:
        records = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["records"]
        self.seen.append((self.path, self.headers["ML-Copy"], self.headers["Authorization"]))
        status, content = type(self).respond(self, records)
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Served(ThreadingHTTPServer):
    daemon_threads, block_on_close = True, False

    def handle_error(self, *_: object) -> None:
        """The mirror may have left."""


@pytest.fixture(scope="module")
def shadow() -> Iterator[Served]:
    with Served(("127.0.0.1", 0), Shadow) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def server(served: Project, shadow: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    variables = {"ML_SHADOW_URL": f"http://127.0.0.1:{shadow.server_port}", "ML_SERVICE_TOKEN": TOKEN}
    with running(served, tmp_path_factory.mktemp("shadow"), **variables, ML_SERVICE_WORKERS="1") as started:
        yield started


def counted(server: Server, name: str) -> dict[str, float]:
    """The values of a metric by its labels."""
    text = server.ask("GET", "/metrics", **AUTHORIZATION)[1]
    found = re.findall(rf"^{name}(?:{{(.*)}})? (\S+)$", str(text), re.MULTILINE)
    return {labels: float(value) for labels, value in found}


def answered_requests(server: Server) -> float:
    """The requests of which a copy was offered, as long as none was a copy itself."""
    return counted(server, "ml_requests_total")['path="/predict",status="200"']


def until(is_true: Callable[[], Any]) -> None:
    due = time.monotonic() + 60
    while not is_true():
        assert time.monotonic() < due
        time.sleep(0.05)


def test_no_answer_waits_for_a_shadow_that_hangs(server: Server):
    go_on = threading.Event()
    Shadow.respond = lambda *_: (go_on.wait(), (200, {}))[1]  # type: ignore[assignment]
    answers = [server.predict({"records": [ROW]}, **AUTHORIZATION) for _ in range(ROWS)]
    assert {status for status, _ in answers} == {200} and all(answer == answers[0] for answer in answers)
    assert Shadow.seen and not go_on.is_set()
    go_on.set()
    until(lambda: sum(counted(server, "ml_shadow_requests_total").values()) == ROWS)


def test_a_shadow_that_fails_or_is_gone_changes_no_answer(server: Server):
    expected = server.predict({"records": [ROW]}, **AUTHORIZATION)
    Shadow.respond = lambda *_: (500, {"error": "internal error"})  # type: ignore[assignment]

    def failed() -> float:
        assert server.predict({"records": [ROW]}, **AUTHORIZATION) == expected
        return counted(server, "ml_shadow_requests_total").get('outcome="500"', 0)

    until(failed)
    before = counted(server, "ml_shadow_requests_total").get('outcome="unreachable"', 0)
    Shadow.respond = lambda handler, _: handler.connection.close()  # type: ignore[assignment,return-value]

    def gone() -> bool:
        assert server.predict({"records": [ROW]}, **AUTHORIZATION) == expected
        return counted(server, "ml_shadow_requests_total").get('outcome="unreachable"', 0) > before

    until(gone)


def test_answers_are_compared_and_no_value_is_logged(server: Server):
    def answer(_: Shadow, records: list[dict[str, Any]]) -> tuple[int, object]:
        known = {"prediction": True, "probability": 0.75, "decision": True}
        return 200, {"predictions": [known for _ in records], "model_version": "another"}

    Shadow.respond = answer  # type: ignore[assignment]
    until(lambda: (server.predict({"records": [ROW]}, **AUTHORIZATION), counted(server, "ml_shadow_rows_total"))[1])
    until(lambda: sum(counted(server, "ml_shadow_requests_total").values()) == answered_requests(server))
    before = counted(server, "ml_shadow_rows_total")
    rows = [{**ROW, "total_spent": 7171.75}] * 7
    status, answered = server.predict({"records": rows}, **AUTHORIZATION)
    assert status == 200
    until(lambda: sum(counted(server, "ml_shadow_rows_total").values()) == sum(before.values()) + 7)
    agrees = "yes" if answered["predictions"][0]["decision"] else "no"
    label = f'agrees="{agrees}",version="another"'
    assert counted(server, "ml_shadow_rows_total")[label] == before[label] + 7
    path, name, authorization = Shadow.seen[-1]
    assert (path, authorization) == ("/predict", f"Bearer {TOKEN}")
    log = server.log.read_text()
    assert f'"copy": "{name}"' in log
    assert not [word for word in ("7171.75", TOKEN) if word in log]


def test_what_is_refused_and_what_is_a_copy_itself_is_not_copied(server: Server):
    Shadow.seen.clear()
    assert server.predict({"records": [{"total_orders": "x"}]}, **AUTHORIZATION)[0] == 422
    assert server.predict({"records": [ROW]})[0] == 401
    assert server.predict({"records": [ROW]}, ML_Copy="0123456789abcdef", **AUTHORIZATION)[0] == 200
    assert '"copy": "0123456789abcdef"' in server.log.read_text()
    assert server.predict({"records": [ROW]}, ML_Copy="0123456789abcdef\tno name", **AUTHORIZATION)[0] == 200
    until(lambda: Shadow.seen)
    assert len(Shadow.seen) == 1


def test_a_wrong_address_ends_the_start(served: Project):
    done = served.run("ml", "serve", "--port", "1", ML_SHADOW_URL="model-shadow:80")
    assert done.returncode != 0 and "ML_SHADOW_URL: write an address" in done.stderr
