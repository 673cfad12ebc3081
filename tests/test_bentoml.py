"""The service as people who know BentoML use it: its clients, its commands, endpoints of one's own."""

from __future__ import annotations

import base64
import json
import os
import random
import re
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import TEMPLATE, Project
from test_report_pages import CHROMIUM
from test_service import ROW, mutated, running

FUZZED = int(os.environ.get("FUZZED_REQUESTS", "10000"))
COMPARED = 2000
HOW_TO = TEMPLATE / "docs/how-to"

# Runs a service in this process, and sends it requests without a network. Arguments: a file with the module of the
# service, or nothing for the project's own; a file with requests; a file for the answers.
ASK = """
import asyncio, base64, importlib.util, json, os, sys, tempfile
from pathlib import Path

os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp()
from mlcicd.core import project
os.environ[project.VARIABLE] = "PACKAGE"
from mlcicd.packaging.export import export_run
from mlcicd.training.run import Run
os.environ["ML_STAGED"] = str(export_run(Run(Path("runs/model")), Path(tempfile.mkdtemp()) / "run"))
import httpx
from mlcicd.serving import app
from mlcicd.serving.model_service import preloaded

module, requests, answers = sys.argv[1:]
spec = importlib.util.spec_from_file_location("PACKAGE.service", module or "src/PACKAGE/service.py")
service = sys.modules["PACKAGE.service"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(service)

async def main():
    application, task = preloaded(service.Service), ""
    async with application.router.lifespan_context(application):
        transport = httpx.ASGITransport(app=application)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            if "LARGE" in os.environ:  # as if others were sending large bodies
                app.RECEIVED.update({number: 5_000_000 for number in range(8)})
            with open(answers, "w") as file:
                for line in open(requests):
                    method, path, body, headers = json.loads(line)
                    path = path.replace("TASK", task)
                    answer = await client.request(method, path, content=base64.b64decode(body), headers=headers)
                    task = answer.json()["task_id"] if path.endswith("/submit") else task
                    file.write(json.dumps([answer.status_code, answer.text]) + "\\n")

asyncio.run(main())
"""
# The same `predict`, but overridden, so that its requests take BentoML's way.
SLOW = """
import bentoml
from mlcicd.serving.model_service import ModelService, Predictions, Records, settings

@bentoml.service(**settings("PACKAGE"))
class Service(ModelService):
    predict = bentoml.api(input_spec=Records, output_spec=Predictions)(ModelService.predict.func)
"""
TASK = """
import bentoml
from mlcicd.serving.model_service import ModelService, settings

@bentoml.service(**settings("PACKAGE"))
class Service(ModelService):
    @bentoml.task
    async def count(self, records: list[dict]) -> int:
        return len((await self.answer(records))["predictions"])
"""
# What a person would write who knows BentoML's clients and nothing of this project.
CLIENTS = """
import asyncio, sys
from pathlib import Path
import bentoml
from mlcicd.packaging.smoke import sample
from mlcicd.training.run import Run

url, (records, expected) = sys.argv[1], sample(Run(Path("runs/model")), 50)

def same(answer):
    assert len(answer["predictions"]) == 50
    for row, known in zip(answer["predictions"], expected):
        assert abs(row["probability"] - known) <= 1e-9, (row, known)

async def main():
    async with bentoml.AsyncHTTPClient(url) as client:
        same(await client.predict(records=records))

with bentoml.SyncHTTPClient(url) as client:
    same(client.predict(records=records))
    for broken in ({"total_orders": "x"}, {"total_ordrs": 1}):
        try:
            client.predict(records=[records[0], records[1] | broken])
        except bentoml.exceptions.BentoMLException as error:
            assert error.error_code == 422, error.error_code
            assert "records[1]" in str(error) and next(iter(broken)) in str(error), error
        else:
            raise AssertionError("not refused")
asyncio.run(main())
print("the clients agree")
"""


def ask(
    project: Project, folder: Path, requests: list[tuple[str, str, bytes, dict[str, str]]], module: str = "", **env: str
) -> list[tuple[int, str]]:
    """Send requests to a service in a process of its own, and return status and body of each answer."""
    sent, got, source = folder / "requests", folder / "answers", folder / "service.py"
    lines = [json.dumps([m, path, base64.b64encode(body).decode(), headers]) for m, path, body, headers in requests]
    sent.write_text("\n".join(lines))
    source.write_text(module.replace("PACKAGE", project.package.name))
    text = ASK.replace("PACKAGE", project.package.name)
    done = project.run("python", "-c", text, str(source) if module else "", str(sent), str(got), **env)
    assert done.returncode == 0, done.stderr[-3000:]
    (folder / "log").write_text(done.stdout)
    return [tuple(json.loads(line)) for line in got.read_text().splitlines()]  # type: ignore[misc]


def changed(project: Project, folder: Path, page: str) -> str:
    """``service.py`` with the change that a page shows."""
    place = folder / "src/customer_churn/service.py"
    place.parent.mkdir(parents=True)
    place.write_text((project.package / "service.py").read_text())
    [change] = re.findall(r"```diff\n(.*?)```", (HOW_TO / f"{page}.md").read_text(encoding="utf-8"), re.S)
    subprocess.run(["git", "apply", "-"], cwd=folder, input=change, text=True, check=True)
    return place.read_text()


def post(content: object, path: str = "/predict", **headers: str) -> tuple[str, str, bytes, dict[str, str]]:
    return "POST", path, json.dumps(content).encode(), {"Content-Type": "application/json"} | headers


def odd_requests() -> list[tuple[str, str, bytes, dict[str, str]]]:
    """Requests whose bodies or headers are wrong."""
    bodies = [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"null",
        b"7",
        b'"x"',
        b"\xff",
        b"[" * 5000,
        b" " * 5_000_001,
        b'{"records": []}',
    ]
    bodies += [json.dumps({"records": [ROW] * 1001}).encode(), json.dumps({"columns": {"total_orders": [1]}}).encode()]
    kinds = [{}, {"Content-Type": "text/csv"}, {"Content-Type": "multipart/form-data; boundary=x"}]
    kinds += [{"Content-Type": "application/vnd.bentoml+arrow"}, {"Content-Encoding": "gzip"}]
    json_type = {"Content-Type": "application/json"}
    found = [("POST", "/predict", body, json_type) for body in bodies]
    found += [("POST", "/predict", json.dumps(ROW).encode(), kind) for kind in kinds]
    return [*found, ("GET", "/predict", b"", {}), ("PUT", "/predict", b"{}", json_type)]


def test_both_ways_of_a_request_give_the_same_answer_and_never_fail(served: Project, tmp_path: Path) -> None:
    rng = random.Random(23)
    requests = odd_requests()
    requests += [post(mutated(rng)) for _ in range(COMPARED - len(requests))]
    fast = ask(served, tmp_path, requests)
    slow = ask(served, tmp_path, requests + [post(mutated(rng)) for _ in range(FUZZED - COMPARED)], SLOW)
    for request, one, other in zip(requests, fast, slow, strict=False):
        assert one == other, request
    assert {status for status, _ in fast} >= {200, 400, 405, 413, 415, 422}
    assert len(slow) == FUZZED and max(status for status, _ in slow) < 500


def test_bentomls_own_format_of_pickles_is_refused(served: Project, tmp_path: Path) -> None:
    headers = {"Content-Type": "application/vnd.bentoml+pickle"}
    request = ("POST", "/predict", b"cos\nsystem\n(S'touch pwned'\ntR.", headers)
    for module in ("", SLOW):
        [(status, _)] = ask(served, tmp_path, [request], module)
        assert status == 415
    assert not (served.root / "pwned").exists()


def test_an_endpoint_of_ones_own(served: Project, tmp_path: Path) -> None:
    broken = ROW | {"total_orders": "x"}
    requests = [
        post({"records": [ROW, ROW]}, "/at_risk"),
        post({"records": [broken]}, "/at_risk"),
        post({"records": [broken]}),
        post({"records": 7}, "/at_risk"),
        post({"records": [ROW] * 40_000}, "/at_risk"),
        *(("GET", path, b"", {}) for path in ("/schema.json", "/docs.json", "/openapi.json", "/", "/metrics")),
    ]
    answers = ask(served, tmp_path, requests, changed(served, tmp_path, "own-endpoint"))
    assert answers[0][0] == 200 and answers[0][1] in ("0", "2")
    assert answers[1] == answers[2] and answers[1][0] == 422
    assert answers[3][0] == 400 and answers[4][0] == 413
    schema = json.loads(answers[5][1])
    assert {route["name"] for route in schema["routes"]} == {"predict", "at_risk"}
    columns = next(r for r in schema["routes"] if r["name"] == "predict")["input"]["properties"]["records"]["items"]
    assert columns["properties"]["total_orders"]["minimum"] == 1
    assert answers[6] == answers[7]
    assert {"/predict", "/at_risk", "/model"} <= json.loads(answers[6][1])["paths"].keys()
    assert "POST /at_risk" in answers[8][1] and "Count the records" in answers[8][1]
    assert 'ml_requests_total{path="/at_risk",status="422"} 1.0' in answers[9][1]


def test_large_bodies_count_together_whoever_reads_them(served: Project, tmp_path: Path) -> None:
    large, small = post({"records": [ROW] * 900}, "/at_risk"), post({"records": [ROW]}, "/at_risk")
    module = changed(served, tmp_path, "own-endpoint")
    own = ask(served, tmp_path, [large, small, large], module, LARGE="1")
    other = ask(served, tmp_path, [post({"records": [ROW] * 900})], LARGE="1")
    assert [status for status, _ in own] == [503, 200, 503]
    assert own[0] == other[0] and "too many large requests" in own[0][1]
    assert ask(served, tmp_path, [large], module)[0][0] == 200


def test_a_token_guards_every_endpoint(served: Project, tmp_path: Path) -> None:
    given = {"Authorization": "Bearer horse"}
    paths = ["/at_risk", "/predict", "/nothing", "/static_content/index.css"]
    requests = [post({"records": [ROW]}, path, **headers) for path in paths for headers in ({}, given)]
    requests += [("GET", path, b"", {}) for path in ("/schema.json", "/readyz", "/docs.json", "/")]
    answers = ask(served, tmp_path, requests, changed(served, tmp_path, "own-endpoint"), ML_SERVICE_TOKEN="horse")
    assert [status for status, _ in answers] == [401, 200, 401, 200, 401, 404, 401, 405, 200, 200, 200, 200]


def test_a_task_is_submitted_and_its_result_fetched(served: Project, tmp_path: Path) -> None:
    requests = [
        post({"records": [ROW, ROW]}, "/count/submit"),
        ("GET", "/count/status?task_id=TASK", b"", {}),
        ("GET", "/count/get?task_id=TASK", b"", {}),
        post({"records": [{}]}, "/count"),
    ]
    submitted, status, result, refused = ask(
        served, tmp_path, requests, TASK, BENTOML_RESULT_STORE=str(tmp_path / "tasks.db")
    )
    assert (submitted[0], status[0], result) == (200, 200, (200, "2"))
    assert json.loads(status[1])["status"] == "completed"
    assert refused[0] == 422 and "missing column" in refused[1]
    logged = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    paths = [line["path"] for line in logged if line["message"] == "request"]
    assert paths == ["/count/submit", "/count/status", "/count/get", "/count"]


def hosts(address: str, folder: Path) -> tuple[set[str], str]:
    """The hosts that a browser asks when it opens a page, and the page as it shows it."""
    log = folder / "net.json"
    quiet = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    command = [CHROMIUM, *quiet, f"--log-net-log={log}", "--dump-dom", address]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    return set(re.findall(r'"url":"https?://([^/"]+)', log.read_text(encoding="utf-8"))), shown


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")
def test_a_browser_asks_nobody_else_for_the_page(served: Project, tmp_path: Path) -> None:
    its_own, _ = hosts("data:text/html,nothing", tmp_path)  # what a browser asks on its own account
    with running(served, tmp_path, ML_SERVICE_WORKERS="1") as server:
        asked, shown = hosts(server.url, tmp_path)
    assert "total_orders" in shown and "POST /predict" in shown
    assert asked - its_own == {server.url.removeprefix("http://")}


def test_another_predict_is_called(served: Project, tmp_path: Path) -> None:
    requests = [post({"records": [ROW]}), post({"records": [{}]})]
    plain, own = (
        ask(served, tmp_path, requests),
        ask(served, tmp_path, requests, changed(served, tmp_path, "own-predict")),
    )
    exact, rounded = (json.loads(answers[0][1])["predictions"][0] for answers in (plain, own))
    assert "predict is overridden" in (tmp_path / "log").read_text()
    assert rounded == exact | {"probability": round(exact["probability"], 2)} != exact
    assert plain[1] == own[1]


def test_a_second_service(served: Project, tmp_path: Path) -> None:
    short = {name: value for name, value in ROW.items() if name != "average_gap_days"}
    full = short | {"average_gap_days": None}
    requests = [
        post({"records": [short]}, "/predict_incomplete"),
        post({"records": [full]}),
        post({"records": [short]}),
    ]
    completed, whole, incomplete = ask(served, tmp_path, requests, changed(served, tmp_path, "second-service"))
    assert json.loads(completed[1]) == json.loads(whole[1])
    assert (completed[0], incomplete[0]) == (200, 422)


@pytest.fixture(scope="module")
def home(served: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A store into which a bento of the project was imported, and the bento's tag."""
    made, other = (tmp_path_factory.mktemp(name) for name in ("made", "other"))
    done = served.run("ml", "package", "--engine", "none", BENTOML_HOME=str(made))
    assert done.returncode == 0, done.stderr
    tag = re.findall(r"bento: (\S+)", done.stdout)[0]
    done = served.run("bentoml", "export", tag, str(made / "x.bento"), BENTOML_HOME=str(made), BENTOML_DO_NOT_TRACK="1")
    assert done.returncode == 0, done.stderr
    done = served.run("bentoml", "import", str(made / "x.bento"), BENTOML_HOME=str(other), BENTOML_DO_NOT_TRACK="1")
    assert done.returncode == 0, done.stderr
    return other, tag


@pytest.fixture(scope="module")
def url(served: Project, home: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of ``bentoml serve`` with the imported bento."""
    store, tag = home
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    log = tmp_path_factory.mktemp("serve") / "log"
    variables = {"BENTOML_HOME": str(store), "BENTOML_DO_NOT_TRACK": "1", "ML_SERVICE_WORKERS": "1"}
    process = subprocess.Popen(
        ["bentoml", "serve", tag, "--host", "127.0.0.1", "--port", str(port)],
        cwd=served.root,
        env=served.environ(**variables),
        stdout=log.open("w"),
        stderr=subprocess.STDOUT,
    )
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).read()
                break
            except OSError:
                assert process.poll() is None, log.read_text()[-3000:]
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


def test_bentomls_clients_get_the_runs_predictions_from_an_imported_bento(served: Project, url: str) -> None:
    done = served.run("python", "-c", CLIENTS, url)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "the clients agree" in done.stdout


def test_they_get_them_from_ml_serve(served: Project, tmp_path: Path) -> None:
    with running(served, tmp_path, ML_SERVICE_WORKERS="1") as server:
        done = served.run("python", "-c", CLIENTS, server.url)
    assert "the clients agree" in done.stdout, done.stderr[-3000:]


def test_the_model_is_in_the_store(served: Project, home: tuple[Path, str]) -> None:
    store, tag = home
    done = served.run("bentoml", "models", "list", "-o", "json", BENTOML_HOME=str(store), BENTOML_DO_NOT_TRACK="1")
    listed: list[dict[str, Any]] = json.loads(done.stdout)
    assert [model["tag"] for model in listed] == [tag]
    done = served.run("bentoml", "models", "get", tag, "-o", "json", BENTOML_HOME=str(store), BENTOML_DO_NOT_TRACK="1")
    model, run = json.loads(done.stdout), served.root / "runs/model"
    manifest, metrics = (json.loads((run / f"{name}.json").read_text()) for name in ("manifest", "metrics"))
    assert model["labels"]["commit"] == manifest["commit"] and model["labels"]["contract"] == manifest["contract"]
    assert model["labels"]["verdict"] == "none"
    assert model["metadata"]["roc_auc"] == round(metrics["holdout"]["roc_auc"]["value"], 6)
    folder = store / "models" / tag.replace(":", "/")
    assert (folder / "model.skops").read_bytes() == (run / "model.skops").read_bytes()
    bentos = served.run("bentoml", "list", "-o", "json", BENTOML_HOME=str(store), BENTOML_DO_NOT_TRACK="1")
    [bento] = json.loads(bentos.stdout)
    assert bento["tag"] == tag and not bento["model_size"].startswith("0.00")
