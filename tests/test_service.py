"""The service over HTTP on loopback: answers as the run's, refusals by the contract, and it outlives its workers.

One server for most tests. The churn example's contract stands for all; other tasks and odd column names are tested
in-process.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import copy
import http.client
import json
import os
import pickle
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Project
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FUZZED = int(os.environ.get("FUZZED_REQUESTS", "10000"))
ROW = {
    "as_of": "1997-12-31",
    "first_purchase": "1997-03-01",
    "last_purchase": "1997-09-30",
    "total_orders": 5,
    "purchase_days": 4,
    "total_items": 11,
    "total_spent": 143.5,
    "largest_order": 60.25,
    "weekend_purchases": 2,
    "q4_purchases": 0,
    "recent_orders": 0,
    "average_gap_days": 71.0,
}


class Server:
    """A running ``ml serve``."""

    def __init__(self, project: Project, log: Path, **variables: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.log = log
        self.process = subprocess.Popen(
            ["ml", "serve", "--port", str(self.port)],
            cwd=project.root,
            env=project.environ(**variables),
            stdout=log.open("w"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.url = f"http://127.0.0.1:{self.port}"
        until = time.monotonic() + 90
        while not self.all_ready():
            assert self.process.poll() is None, f"the server stopped:\n{log.read_text()[-3000:]}"
            assert time.monotonic() < until, f"the server is not ready:\n{log.read_text()[-3000:]}"
            time.sleep(0.1)

    def all_ready(self) -> bool:
        """Whether every worker has loaded its model; /readyz answers as soon as one has."""
        ready = [json.loads(line) for line in self.log.read_text().splitlines() if '"message": "ready"' in line]
        return bool(ready) and len(ready) >= ready[0]["workers"] and self.ask("GET", "/readyz")[0] == 200

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, dict | str]:
        """Ask once, on a new connection; status 0 when there is no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            return exchange(connection, method, path, body, **headers)
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            connection.close()

    def predict(self, content: object, **headers: str) -> tuple[int, dict]:
        return self.ask("POST", "/predict", json.dumps(content).encode(), **headers)  # type: ignore[return-value]

    def workers(self) -> list[int]:
        """The process ids of the workers: grandchildren of ``ml serve``, children of gunicorn."""
        parents: dict[int, int] = {}
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        return [pid for pid, parent in parents.items() if parents.get(parent) == self.process.pid]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise


def exchange(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None, **headers: str
) -> tuple[int, dict | str]:
    given = {"Content-Type": "application/json"} | {k.replace("_", "-"): v for k, v in headers.items()}
    connection.request(method, path, body, {k: v for k, v in given.items() if v})
    response = connection.getresponse()
    text = response.read().decode()
    is_json = response.headers.get("content-type", "").startswith("application/json")
    return response.status, json.loads(text) if is_json else text


@contextlib.contextmanager
def running(project: Project, folder: Path, **variables: str) -> Iterator[Server]:
    server = Server(project, folder / f"server-{time.monotonic_ns()}.log", **variables)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()


@pytest.fixture(scope="module")
def server(served: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(served, tmp_path_factory.mktemp("server")) as started:
        yield started


def problems(answer: dict) -> set[tuple[str, str]]:
    return {(p["column"], p["rule"]) for p in answer["problems"]}


def script(project: Project, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the project's environment; ``PACKAGE`` in the text is the project's package."""
    return project.run("python", "-c", text.replace("PACKAGE", project.package.name), *arguments)


# Answers -------------------------------------------------------------------------------------------------------------


def test_a_thousand_holdout_rows_agree_in_run_service_and_batch(
    served: Project, server: Server, tmp_path: Path
) -> None:
    smoke = served.run("ml", "smoke", server.url)
    assert smoke.returncode == 0, smoke.stdout + smoke.stderr
    assert "same predictions as the run on 1,000 rows" in smoke.stdout
    compared = script(
        served,
        """
import sys
import pandas as pd
from pathlib import Path
from mlcicd.contract import document as contract
from mlcicd.scoring.predict import predict
from mlcicd.training.run import Run
run, out = Run(Path("runs/model")), Path(sys.argv[1])
held = run.predictions.query("part == 'holdout'").drop_duplicates("row").head(1000)
rows = run.holdout.set_index("row").loc[held["row"]].rename_axis("customer_id")
for suffix, write in ((".parquet", pd.DataFrame.to_parquet), (".csv", pd.DataFrame.to_csv)):
    write(rows, out / f"rows{suffix}")  # what is an index to pandas is a column to everybody else
    assert predict(out / f"rows{suffix}", out / f"scored{suffix}", run.path, chunk=300) == 1000
    scored = (pd.read_parquet if suffix == ".parquet" else pd.read_csv)(out / f"scored{suffix}")
    assert list(scored) == ["customer_id", "prediction", "probability", "decision"], list(scored)
    assert (scored["probability"] - held["prediction"].to_numpy()).abs().max() <= 1e-9
""",
        str(tmp_path),
    )
    assert compared.returncode == 0, compared.stderr


def test_an_answer_says_what_it_is(server: Server) -> None:
    status, answer = server.predict({"records": [{"customer_id": "00007", **ROW}, ROW]})
    assert status == 200
    first, second = answer["predictions"]
    assert first.keys() == {"id", "prediction", "probability", "decision"} and first["id"] == "00007"
    assert "id" not in second and second["probability"] == first["probability"]
    threshold = server.ask("GET", "/model")[1]["threshold"]
    assert first["decision"] is (first["probability"] >= threshold)
    assert answer["model_version"] == server.ask("GET", "/model")[1]["version"]


@pytest.mark.parametrize(
    "content", [ROW, [ROW], {"records": [ROW]}, {"records": ROW}, {"columns": {k: [v] for k, v in ROW.items()}}]
)
def test_every_form_of_a_request_has_the_same_answer(server: Server, content: object) -> None:
    assert server.predict(content) == server.predict({"records": [ROW]})


# Refusals ------------------------------------------------------------------------------------------------------------

NO = object()  # the column is left out


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("total_orders", "12", "type"),
        ("total_orders", True, "type"),
        ("total_orders", 1.5, "type"),
        ("total_orders", 10**40, "maximum"),
        ("total_orders", 0, "minimum"),
        ("total_orders", None, "required"),
        ("total_orders", NO, "missing column"),
        ("average_gap_days", NO, "missing column"),
        ("total_spent", "143.50", "type"),
        ("total_spent", False, "type"),
        ("total_spent", 200000.01, "maximum"),
        ("total_spent", float("nan"), "finite"),
        ("total_spent", float("inf"), "finite"),
        ("total_spent", [1], "type"),
        ("as_of", "31.12.1997", "type"),
        ("as_of", 883526400, "type"),
        ("as_of", "1997-12-31T10:00:00", "type"),
        ("as_of", "1996-12-31", "minimum"),
        ("customer_id", "7", "pattern"),
        ("customer_id", 7, "type"),
        ("churned", True, "unknown column"),
        ("total_spnt", 1, "unknown column"),
        ("weekend_purchases", 6, "weekend orders among all orders"),
    ],
)
def test_a_refusal_names_row_column_and_rule(server: Server, column: str, value: object, rule: str) -> None:
    bad = {**ROW, column: value}
    if value is NO:
        del bad[column]
    status, answer = server.predict({"records": [ROW, bad]})
    assert status == 422, answer
    found = [p for p in answer["problems"] if p["column"] == column]
    assert [p["rule"] for p in found] == [rule], answer
    assert found[0]["row"] == 1 and "records[1]" in found[0]["message"]


def test_all_problems_at_once(server: Server) -> None:
    bad = {**ROW, "total_orders": "5", "total_spent": -1, "typo": 0, "last_purchase": "1997-01-15"}
    del bad["q4_purchases"]
    status, answer = server.predict({"records": [bad]})
    assert status == 422 and answer["total"] == 5
    assert problems(answer) == {
        ("total_orders", "type"),
        ("total_spent", "minimum"),
        ("typo", "unknown column"),
        ("q4_purchases", "missing column"),
        ("first_purchase", "first purchase before last"),
    }


def test_missing_values_are_allowed_where_the_contract_allows_them(server: Server) -> None:
    assert server.predict({"records": [{**ROW, "average_gap_days": None}]})[0] == 200


def test_values_of_columns_that_are_not_public_stay_out_of_answers_and_logs(server: Server) -> None:
    status, answer = server.predict({"records": [{"customer_id": "SECRET-4711", **ROW, "total_spent": "4812.99"}]})
    assert status == 422 and "SECRET" not in json.dumps(answer) and "4812.99" in json.dumps(answer)
    time.sleep(0.2)
    assert "SECRET" not in server.log.read_text() and "4812.99" not in server.log.read_text()


def test_logs_are_json_lines(server: Server) -> None:
    server.predict({"records": [ROW, ROW]})
    time.sleep(0.2)
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    assert any(r.get("path") == "/predict" and r.get("records") == 2 and r["status"] == 200 for r in lines)


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"\xff\xfe", {}, 400),
        (b"", {}, 400),
        (b'{"records": []}', {}, 422),
        (b"[]", {}, 422),
        (b"{}", {}, 422),
        (b"7", {}, 422),
        (b"null", {}, 422),
        (b'"records"', {}, 422),
        (b"[7]", {}, 422),
        (b"[[]]", {}, 422),
        (b'{"columns": {"total_orders": [1, 2], "as_of": []}}', {}, 422),
        (b"[" * 100_000, {}, 400),
        (b"{}", {"Content_Type": "text/csv"}, 415),
        (b"{}", {"Content_Type": ""}, 415),
        (b"{}", {"Content_Encoding": "gzip"}, 415),
        (b" " * 5_000_001, {}, 413),
    ],
)
def test_a_body_that_is_no_request(server: Server, body: bytes, headers: dict[str, str], status: int) -> None:
    found, answer = server.ask("POST", "/predict", body, **headers)
    assert found == status and isinstance(answer, dict) and answer["error"], answer


def test_too_many_records(server: Server) -> None:
    status, answer = server.predict({"records": [ROW] * 1001})
    assert status == 413 and "1,000" in answer["error"]


def test_a_record_with_a_hundred_thousand_columns_is_answered_in_short(server: Server) -> None:
    status, answer = server.predict({"records": [{f"column {i}": i for i in range(100_000)}]})
    assert status == 422 and answer["total"] >= 100_000 and len(answer["problems"]) <= 101


def test_the_wrong_method_and_path(server: Server) -> None:
    assert server.ask("GET", "/predict")[0] == 405
    assert server.ask("GET", "/nothing")[0] == 404


# Around it -----------------------------------------------------------------------------------------------------------


def test_openapi_shows_the_columns_and_an_example_that_is_accepted(server: Server) -> None:
    document = server.ask("GET", "/openapi.json")[1]
    record = document["components"]["schemas"]["Record"]
    assert set(record["properties"]) == {"customer_id", *ROW} and set(record["required"]) == set(ROW)
    assert record["properties"]["total_orders"]["minimum"] == 1
    example = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert server.predict(example)[0] == 200
    assert server.ask("GET", "/docs.json")[1] == document


def test_the_model_tells_about_itself(server: Server) -> None:
    about = server.ask("GET", "/model")[1]
    assert about["task"] == "binary" and about["contract"]["kind"] == "DataContract"
    assert "Customer churn" in about["card"] and "roc_auc" in about["holdout"]


def test_health_and_metrics(server: Server) -> None:
    assert [server.ask("GET", path)[0] for path in ("/healthz", "/livez", "/readyz")] == [200, 200, 200]

    def counts() -> dict[str, float]:
        text = server.ask("GET", "/metrics")[1]
        lines = [line.rsplit(" ", 1) for line in str(text).splitlines() if line and not line.startswith("#")]
        return {name: float(value) for name, value in lines}

    before = counts()
    server.predict({"records": [ROW] * 10})
    server.predict({"records": [{**ROW, "total_orders": "1"}]})
    after = counts()

    def grown(part: str) -> float:
        return sum(v - before.get(n, 0) for n, v in after.items() if n.startswith(part))

    assert grown('ml_inputs_total{bin="<= 5",column="total_orders"}') == 10
    assert grown("ml_prediction_count") == 10 and grown("ml_predictions_total") == 10
    assert grown('ml_refusals_total{rule="type"}') == 1
    assert grown('ml_requests_total{path="/predict",status="422"}') == 1


def test_a_token_is_asked_for_when_one_is_set(served: Project, tmp_path: Path) -> None:
    with running(served, tmp_path, ML_SERVICE_TOKEN="correct horse", ML_SERVICE_WORKERS="1") as server:
        body = {"records": [ROW]}
        assert server.predict(body)[0] == 401
        assert server.predict(body, Authorization="Bearer wrong")[0] == 401
        assert server.predict(body, Authorization="Bearer correct horse")[0] == 200
        assert server.ask("GET", "/model")[0] == 401 and server.ask("GET", "/metrics")[0] == 401
        assert server.ask("GET", "/readyz")[0] == 200
        smoke = served.run("ml", "smoke", server.url, ML_SERVICE_TOKEN="correct horse")
        assert smoke.returncode == 0, smoke.stdout


def test_the_scheme_of_a_token_is_of_any_case_and_a_token_beyond_ascii_is_refused(
    served: Project, tmp_path: Path
) -> None:
    with running(served, tmp_path, ML_SERVICE_TOKEN="horse", ML_SERVICE_WORKERS="1") as server:
        for given, status in (("bearer horse", 200), ("BEARER horse", 200), ("Basic horse", 401), ("horse", 401)):
            assert server.predict({"records": [ROW]}, Authorization=given)[0] == status, given
        assert server.ask("GET", "/")[0] == 200
    done = served.run("ml", "serve", "--port", "1", ML_SERVICE_TOKEN="Käse")
    assert done.returncode != 0 and "ML_SERVICE_TOKEN: use letters" in done.stderr


def test_no_redirect_leads_to_the_host_that_a_request_names(server: Server) -> None:
    for path in ("/predict/", "/model/", "/livez/", "//evil.example/"):
        assert server.ask("GET", path, Host="evil.example")[0] == 404, path


def test_the_page_asks_nobody_for_anything(server: Server) -> None:
    status, text = server.ask("GET", "/")
    assert status == 200 and isinstance(text, str)
    assert "total_orders" in text and "<script" not in text
    assert not re.findall(r"(?:src|href)\s*=|url\(|@import|//", text)


def test_the_example_of_a_request_is_nobodys_row(server: Server) -> None:
    document = server.ask("GET", "/openapi.json")[1]
    content = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]  # type: ignore[index]
    assert content["example"]["records"][0]["total_spent"] == 0  # the least that the contract allows


def test_a_hundred_slow_clients_and_large_bodies_leave_others_unharmed(served: Project, tmp_path: Path) -> None:
    with running(served, tmp_path, ML_SERVICE_WORKERS="2") as server, contextlib.ExitStack() as stack:
        workers = server.workers()
        for number in range(100):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30))
            client.sendall((b"POST /pre", b"POST /predict HTTP/1.1\r\nX: ", b"\r\n")[number % 3])
        costly = json.dumps({"columns": {f"c{n}": [0] * 1000 for n in range(2000)}}).encode()
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            refused = [pool.submit(server.ask, "POST", "/predict", costly) for _ in range(8)]
            for _ in range(50):
                assert server.ask("GET", "/livez")[0] == 200
                assert server.predict({"records": [ROW]})[0] == 200
            assert {done.result()[0] for done in refused} == {413}
        assert server.workers() == workers


def test_a_websocket_request_leaves_no_query_in_the_log(server: Server) -> None:
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    server.ask("GET", "/predict?name=SECRETNAME", Sec_WebSocket_Key="eA==", **upgrade)
    server.ask("GET", "/nothing/SECRETNAME?x=SECRETNAME")
    time.sleep(0.3)
    assert "SECRETNAME" not in server.log.read_text()


# Fuzzing -------------------------------------------------------------------------------------------------------------

STRANGE = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2**63,
    -(2**63) - 1,
    10**30,
    1e308,
    -1e308,
    5e-324,
    0.1,
    float("nan"),
    float("inf"),
]
STRANGE += [
    "",
    " ",
    "0",
    "NaN",
    "1997-12-31",
    "0001-01-01",
    "9999-12-31",
    "9999-12-31T23:59:59-23:59",
    "\x00",
    "😀" * 50,
]
STRANGE += [
    [],
    {},
    [[]],
    {"a": 1},
    "x" * 5000,
    "1997-02-30",
    "1997-12-31T00:00:00+14:00",
    "'; DROP TABLE x",
    "Infinity",
]


def mutated(rng: random.Random) -> object:
    records = [copy.copy(ROW) for _ in range(rng.choice((1, 1, 1, 2, 5)))]
    for _ in range(rng.choice((0, 1, 1, 2, 4))):
        record, column = rng.choice(records), rng.choice([*ROW, "customer_id", "typo"])
        match rng.randrange(4):
            case 0:
                record.pop(column, None)
            case 1:
                record[column] = rng.uniform(-10, 10) * 10.0 ** rng.randint(-3, 12)
            case 2:
                record[column] = rng.randint(-5, 1200)
            case _:
                record[column] = rng.choice(STRANGE)
    return rng.choice(({"records": records}, {"records": records}, records, records[0]))


def memory(server: Server) -> float:
    """Resident megabytes of all workers."""
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in server.workers())
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def test_fuzzed_requests_are_answered_or_refused_by_column_in_flat_memory(server: Server) -> None:
    rng, seen, middle = random.Random(20), set(), 0.0
    workers = server.workers()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    for number in range(FUZZED):
        body = json.dumps(mutated(rng)).encode()
        status, answer = exchange(connection, "POST", "/predict", body)
        assert status in (200, 422), f"{status} {answer} for {body[:2000]!r}"
        if status == 422:
            assert all(p["column"] and p["rule"] and p["message"] for p in answer["problems"]), answer
        seen.add(status)
        middle = memory(server) if number == FUZZED // 4 else middle
    assert seen == {200, 422} and server.workers() == workers
    assert memory(server) - middle < 15, f"{middle:.0f} MB after a quarter, {memory(server):.0f} MB at the end"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.sampled_from(list(ROW)), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=200))
def test_any_json_and_any_bytes_get_an_answer(server: Server, body: bytes) -> None:
    status, answer = server.ask("POST", "/predict", body)
    assert status in (200, 400, 422) and isinstance(answer, dict)


# Processes -----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_worker_comes_back_and_the_others_go_on(served: Project, tmp_path: Path) -> None:
    with running(served, tmp_path, ML_SERVICE_WORKERS="2") as server:
        first = server.workers()
        assert len(first) == 2
        stop = time.monotonic() + 60
        statuses: list[tuple[float, int]] = []

        def client() -> None:
            while time.monotonic() < stop:
                statuses.append((time.monotonic(), server.predict({"records": [ROW]})[0]))

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            clients = [pool.submit(client) for _ in range(4)]
            time.sleep(1)
            os.kill(first[0], signal.SIGKILL)
            killed = time.monotonic()
            while time.monotonic() < stop and len(set(server.workers()) - set(first)) == 0:
                time.sleep(0.1)
            time.sleep(5)
            stop = 0
            concurrent.futures.wait(clients)
        lost = [status for _, status in statuses if status != 200]
        assert len(lost) <= 4, f"{len(lost)} of {len(statuses)} requests were lost"  # at most what it had in hand
        assert sum(when > killed for when, _ in statuses) > 50
        second = server.workers()
        assert len(second) == 2 and first[0] not in second and first[1] in second


def test_a_stop_finishes_what_is_in_flight(served: Project, tmp_path: Path) -> None:
    with running(served, tmp_path) as server:
        body = json.dumps({"records": [ROW] * 500}).encode()
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            head = "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            head += f"Content-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body[:1000])
            time.sleep(0.5)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(1)
            connection.sendall(body[1000:])
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
        assert answer.startswith(b"HTTP/1.1 200"), answer[:300]
        assert answer.count(b'"probability"') == 500
        assert server.process.wait(30) == 0
        assert server.ask("GET", "/readyz")[0] == 0


# In-process ----------------------------------------------------------------------------------------------------------


def test_a_pickle_in_the_place_of_the_model_is_refused_unopened(served: Project, tmp_path: Path) -> None:
    copied = served.copy(tmp_path / "project")
    run = copied.root / "runs" / "model"
    run.parent.mkdir()
    subprocess.run(["cp", "-r", str(served.root / "runs" / "model"), str(run)], check=True)

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'opened'}",)

    (run / "model.skops").write_bytes(pickle.dumps(Trap()))
    done = copied.run("ml", "package", "--engine", "none", BENTOML_HOME=str(tmp_path / "bentos"))
    assert done.returncode == 2 and "pickle" in done.stderr, done.stdout + done.stderr
    assert not (tmp_path / "opened").exists()


def test_an_engine_that_does_not_answer_is_passed_over(served: Project, tmp_path: Path) -> None:
    """A docker without its daemon is such a one: only where no other answers is it a matter for a person."""
    folder = tmp_path / "bin"
    folder.mkdir()
    fakes = {"docker": "exit 1", "podman": 'echo "$1" >> {}; exec true'.format(tmp_path / "asked")}
    for name, does in fakes.items():
        (folder / name).write_text(f"#!/bin/sh\n{does}\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    paths = {"PATH": f"{folder}:{served.environ()['PATH']}", "BENTOML_HOME": str(tmp_path / "bentos")}
    done = served.run("ml", "package", **paths)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "asked").read_text(encoding="utf-8").split() == ["info", "build"]
    assert "image: " in done.stdout
    for name in ("podman", "buildah"):
        shutil.copy(folder / "docker", folder / name)
    done = served.run("ml", "package", **paths)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "ml: 'docker info' fails: start it, choose another --engine, or none for the bento alone\n"


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_stopped_package_leaves_the_older_bento_and_nothing_else(served: Project, tmp_path: Path) -> None:
    temporary, home = tmp_path / "tmp", tmp_path / "bentos"
    temporary.mkdir()
    variables = {"TMPDIR": str(temporary), "BENTOML_HOME": str(home)}
    command = ("ml", "package", "--engine", "none")
    done = served.run(*command, **variables)
    assert done.returncode == 0, done.stderr
    bento = Path(done.stdout.split("path: ")[1].splitlines()[0])
    files = {f: f.read_bytes() for f in bento.rglob("*") if f.is_file()}
    for number in (signal.SIGKILL, signal.SIGTERM):
        process = subprocess.Popen(command, cwd=served.root, env=served.environ(**variables), stderr=subprocess.PIPE)
        while not list(temporary.glob("ml-package-*/work/bentofile.yaml")) and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(number)
        said = process.communicate()[1]
        assert {f: f.read_bytes() for f in bento.rglob("*") if f.is_file()} == files
        assert not list(home.glob(".*")) or number == signal.SIGKILL
        if number == signal.SIGKILL:  # the next one removes it: else this loop would not wait for its own
            (left,) = temporary.glob("ml-package-*")
            (left / "work" / "bentofile.yaml").unlink()
    assert (process.returncode, said) == (128 + signal.SIGTERM, b"ml: stopped\n")
    assert not list(temporary.glob("ml-*"))


def test_a_bento_built_twice_is_the_same(served: Project, tmp_path: Path) -> None:
    found = []
    for name in ("first", "second"):
        done = served.run("ml", "package", "--engine", "none", BENTOML_HOME=str(tmp_path / name))
        assert done.returncode == 0, done.stderr
        bento = Path(done.stdout.split("path: ")[1].splitlines()[0])
        files = {str(f.relative_to(bento)): f.read_bytes() for f in (bento / "src").rglob("*") if f.is_file()}
        models = tmp_path / name / "models"
        files |= {str(f.relative_to(tmp_path / name)): f.read_bytes() for f in models.rglob("*") if f.is_file()}
        found.append((done.stdout.split("path:")[0], files))
    assert found[0] == found[1]
    files = found[0][1]
    assert len([name for name in files if name.startswith("models") and name.endswith("model.skops")]) == 1
    assert files["src/run/model.skops"] == (served.root / "runs/model/model.skops").read_bytes()
    pins = {line.split(" ")[0] for line in files["src/requirements.txt"].decode().splitlines() if "==" in line}
    lock = (served.root / "uv.lock").read_text()
    for pin in pins:
        name, version = pin.split("==")
        assert f'name = "{name}"\nversion = "{version}"' in lock, pin
    names = {pin.split("==")[0] for pin in pins}
    assert {"bentoml", "scikit-learn", "pandas", "skops"} <= names
    assert not names & {"pyarrow", "matplotlib", "skrub", "typer", "pytest", "mypy", "uv"}


TASKS = """
import json, sys
from pathlib import Path
import numpy as np, pandas as pd, yaml
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from mlcicd.training import model_io as models
from mlcicd.validation import request_validation as records
from mlcicd.serving import inference_engine as serving
from mlcicd.data import readers as tables
from mlcicd.contract import document as contract

odd = ["model_config", "f0", "a b", "ü/§", "__class__", "id"]
rng, n = np.random.default_rng(0), 300
def column(name, kind, **more):
    return {"name": name, "logicalType": kind, **more}
properties = [
    column("key", "string", customProperties=[{"property": "role", "value": "id"}]),
    column("model_config", "number", required=True), column("f0", "integer"), column("a b", "boolean"),
    column("ü/§", "string", enum=[{"value": "x"}, {"value": "y"}]),
    column("__class__", "timestamp"), column("id", "string", required=True, logicalTypeOptions={"maxLength": 3}),
    column("y", "number" if sys.argv[1] == "regression" else "string",
           customProperties=[{"property": "role", "value": "target"}]),
]
document = {"apiVersion": "v3.2.0", "kind": "DataContract", "id": "t", "version": "1", "status": "active",
            "schema": [{"name": "t", "properties": properties}]}
out = Path(sys.argv[2]); out.mkdir()
(out / "contract.yaml").write_text(yaml.safe_dump(document))
obj = contract.load(out / "contract.yaml").table
rows = [{"model_config": float(i), "f0": i if i % 3 else None, "a b": [True, False, None][i % 3],
         "ü/§": ["x", "y", None][i % 3], "__class__": "2026-01-02T03:04:05+02:00" if i % 2 else None, "id": "abc"}
        for i in range(n)]
frame, mistyped = tables.coerce_dtypes(pd.DataFrame(rows).astype({"a b": object}), obj, "rows", ["key", "y"])
assert not mistyped, mistyped
validator = records.RequestValidator(obj)
mine = validator.frame(validator.cells(validator.read(json.dumps({"records": rows}).encode())))
pd.testing.assert_frame_equal(mine, frame)
numeric = make_column_transformer((OneHotEncoder(), ["ü/§"]), ("passthrough", ["model_config", "a b"]))
if sys.argv[1] == "regression":
    classes, model, y = [], HistGradientBoostingRegressor(max_iter=5), frame["model_config"] * 2
else:
    classes, y = ["low", "mid", "high"], np.arange(n) % 3
    model = DummyClassifier(strategy="prior")
pipe = make_pipeline(numeric, model).fit(frame, y)
models.save(pipe, out / "model.skops")
(out / "metrics.json").write_text(json.dumps({"task": sys.argv[1], "classes": classes, "threshold": None}))
about = {"schema": 1, "limits": {"max_bytes": 10**6, "max_records": 1000}, "outputs": [0.0, 1.0], "interval": 2.5,
         "purpose": "", "example": {},
         "bins": {p.name: [] for p in obj.features}, "shares": {}, "predicted": {},
         "model": {"version": "v", "name": "t", "commit": None, "target": "y", "task": sys.argv[1], "classes": classes,
                   "threshold": None}}
if sys.argv[1] != "regression":
    del about["interval"]
(out / "serving.json").write_text(json.dumps(about))
engine = serving.InferenceEngine(out)
answers = engine.answer(engine.validator.read(json.dumps({"records": [{"key": "k1", **rows[1]}, rows[2]]}).encode()))
engine.openapi()
print(json.dumps(answers))
"""


def test_three_classes_and_odd_column_names(served: Project, tmp_path: Path) -> None:
    done = script(served, TASKS, "multiclass", str(tmp_path / "staged"))
    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout)
    assert first["id"] == "k1" and first["prediction"] in ("low", "mid", "high") and "id" not in second
    assert first["probability"].keys() == {"low", "mid", "high"} and sum(
        first["probability"].values()
    ) == pytest.approx(1)


def test_a_regression_answers_with_an_interval(served: Project, tmp_path: Path) -> None:
    done = script(served, TASKS, "regression", str(tmp_path / "staged"))
    assert done.returncode == 0, done.stderr
    first, _ = json.loads(done.stdout)
    assert first["interval"] == pytest.approx([first["prediction"] - 2.5, first["prediction"] + 2.5])
    assert first.keys() == {"id", "prediction", "interval"}


def test_one_request_that_the_model_cannot_compute_does_not_spoil_its_neighbours(served: Project) -> None:
    done = script(
        served,
        """
import asyncio
from mlcicd.serving.inference_engine import Batcher
sizes = []
def score(rows):
    sizes.append(len(rows))
    if "bad" in rows:
        raise ValueError
    return [{"row": row} for row in rows]
async def main():
    batcher = Batcher(score)
    return await asyncio.gather(*(batcher([name]) for name in ("a", "b", "bad", "c")), return_exceptions=True)
answers = asyncio.run(main())
assert [type(a).__name__ for a in answers] == ["list", "list", "ValueError", "list"], answers
assert answers[3] == [{"row": "c"}] and sizes[0] == 4, sizes
""",
    )
    assert done.returncode == 0, done.stderr
