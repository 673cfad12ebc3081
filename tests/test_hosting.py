"""The two paths that SageMaker's hosting asks for: the answers of /predict, from JSON and from CSV."""

from __future__ import annotations

import csv
import http.client
import io
import json
import random
import string
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from conftest import Project
from test_service import FUZZED, ROW, Server, exchange, mutated

CSV = "text/csv; charset=utf-8"
Rows = list[dict[str, object]]


@pytest.fixture(scope="module")
def server(served: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(served, tmp_path_factory.mktemp("hosting") / "log")
    yield running
    assert running.stop() == 0


def table(rows: Rows) -> bytes:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def invoke(server: Server, body: bytes, kind: str = CSV) -> tuple[int, dict]:
    return server.ask("POST", "/invocations", body, Content_Type=kind)  # type: ignore[return-value]


def test_ping_is_empty_and_needs_no_token(served: Project, server: Server, tmp_path: Path) -> None:
    assert server.ask("GET", "/ping") == (200, "")
    locked = Server(served, tmp_path / "log", ML_SERVICE_TOKEN="horse")
    try:
        assert locked.ask("GET", "/ping")[0] == 200
        assert locked.ask("POST", "/invocations", table([ROW]), Content_Type=CSV)[0] == 401
        assert (
            locked.ask("POST", "/invocations", table([ROW]), Content_Type=CSV, Authorization="Bearer horse")[0] == 200
        )
    finally:
        locked.stop()


def test_json_and_csv_are_answered_as_by_predict(server: Server) -> None:
    rows = [ROW, {**ROW, "average_gap_days": None, "total_spent": 1e3}, {**ROW, "total_orders": 40}]
    expected = server.predict({"records": rows})
    assert expected[0] == 200
    assert invoke(server, json.dumps({"records": rows}).encode(), "application/json") == expected
    body = table(rows)
    assert invoke(server, body) == expected
    assert invoke(server, b"\xef\xbb\xbf" + body.replace(b"\r\n", b"\n").rstrip()) == expected
    columns = list(ROW)[::-1]
    assert invoke(server, table([{name: row[name] for name in columns} for row in rows])) == expected


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 422, "no records"),
        (b"\n\n", 422, "no records"),
        (table([ROW]).splitlines()[0], 422, "no records"),
        (table([ROW]).splitlines()[1], 422, "twice"),  # without a header
        (table([ROW]) + b"1,2\n", 422, "line 3 has 2 cells, and the first line 12"),
        (b"total_orders,total_orders\n1,2", 422, "twice"),
        (b"," * 4_000_000 + b"\n", 422, "must name the columns"),
        (table([ROW] * 1001), 413, "1,000"),
        (b"\xff\xfe", 400, "UTF-8"),
        (b'as_of\n"1', 400, "valid CSV"),
        (b'as_of\n"1"2', 400, "valid CSV"),
        (b"as_of\n" + b"x" * 200_000, 400, "valid CSV"),
        (b" " * 5_000_001, 413, "5,000,000"),
    ],
)
def test_what_is_no_such_csv_is_refused_in_one_line(server: Server, body: bytes, status: int, said: str) -> None:
    found, answer = invoke(server, body)
    assert (found, said in answer["error"]) == (status, True), answer


@pytest.mark.parametrize(
    ("change", "rule", "column"),
    [
        ({"total_orders": "five"}, "type", "total_orders"),
        ({"total_orders": "9" * 5000}, "type", "total_orders"),
        ({"total_orders": "1_0"}, "type", "total_orders"),
        ({"total_spent": "nan"}, "type", "total_spent"),
        ({"total_spent": "1e999"}, "type", "total_spent"),
        ({"total_spent": "-1"}, "minimum", "total_spent"),
        ({"as_of": ""}, "required", "as_of"),
        ({"typo": "1"}, "unknown column", "typo"),
    ],
)
def test_a_cell_that_breaks_the_contract_is_named(server: Server, change: dict, rule: str, column: str) -> None:
    status, answer = invoke(server, table([{**ROW, **change}]))
    assert status == 422
    assert (rule, column, 0) in {(p["rule"], p["column"], p["row"]) for p in answer["problems"]}, answer


def test_a_missing_column_is_named(server: Server) -> None:
    status, answer = invoke(server, table([{name: value for name, value in ROW.items() if name != "total_orders"}]))
    assert status == 422 and answer["problems"][0]["rule"] == "missing column"


def test_fuzzed_requests_are_answered_or_refused(server: Server) -> None:
    """JSON, tables of mutated records, tables with bytes changed, and noise for /ping: never a 5xx."""
    rng, seen, workers = random.Random(28), set(), server.workers()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    for _ in range(FUZZED):
        if rng.random() < 0.1:
            method, query = rng.choice(("GET", "GET", "POST", "PUT", "DELETE")), quote(rng.randbytes(rng.randrange(40)))
            status, _ = exchange(connection, method, f"/ping?{query}", rng.randbytes(rng.randrange(200)))
            assert status == (200 if method == "GET" else 405)
            continue
        content, kind = mutated(rng), rng.choice(("application/json", CSV, CSV))
        if kind == CSV:
            records = content["records"] if isinstance(content, dict) and "records" in content else content
            body = bytearray(table(records if isinstance(records, list) else [records]))
            for _ in range(rng.choice((0, 0, 1, 5))):
                place = rng.randrange(len(body))
                body[place : place + rng.choice((0, 1))] = bytes([rng.choice((*string.printable.encode(), 0, 255))])
            body = bytes(body)
        else:
            body = json.dumps(content).encode()
        status, answer = exchange(connection, "POST", "/invocations", body, Content_Type=kind)
        assert status in (200, 400, 413, 422) and isinstance(answer, dict), f"{status} {answer} for {body[:2000]!r}"
        seen.add(status)
    assert seen >= {200, 400, 422} and server.workers() == workers
