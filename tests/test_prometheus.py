"""The project's alerts and dashboard, in the real Prometheus that scrapes the real service on loopback.

The rules look at a day and wait an hour; here their windows are half a minute, so that a test sees an alert fire and
resolve. With their own windows promtool tests them on made-up series.
"""

from __future__ import annotations

import csv
import json
import random
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from conftest import TEMPLATE, Project
from test_service import Server, running

MONITORING = next(TEMPLATE.glob("{{*}}")) / "monitoring"
WINDOWS = {"[1d]": "[40s]", "[1h]": "[40s]", "for: 1h": "for: 2s", "for: 10m": "for: 2s", ">= 1000": ">= 100"}
TIMEOUT = 300
pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="Prometheus is not installed: apt-get install prometheus",
)
SAMPLE = """
import json
from pathlib import Path
from mlcicd.training.run import Run
from mlcicd.packaging.smoke import sample
print(json.dumps(sample(Run(Path("runs/model")), 6000)[0]))
"""


# Serves the rows that judged the model to the model, and prints what a scrape would read.
SCRAPE = """
import json
from pathlib import Path
from mlcicd.serving import inference_engine as serving
from mlcicd.packaging import smoke
from mlcicd.packaging import export
from mlcicd.training.run import Run
from prometheus_client import REGISTRY
run = Run(Path("runs/model"))
engine = serving.InferenceEngine(export.export_run(run, Path("staged")))
engine.answer(engine.validator.read(json.dumps({"records": smoke.sample(run, 900)[0]}).encode()))
samples = [s for family in REGISTRY.collect() for s in family.samples if s.name.startswith("ml_")]
print(json.dumps([[s.name, s.labels, s.value] for s in samples if not s.name.endswith("_created")]))
"""
CATEGORIES = ["missing", "other", "above", "<= 1", "(other)", 'a "quoted" \\\\ one', "NA"]


class Prometheus:
    """A Prometheus of one's own."""

    def __init__(self, folder: Path, target: int) -> None:
        rules = (MONITORING / "alerts.yml").read_text(encoding="utf-8")
        for old, new in WINDOWS.items():
            assert old in rules, old
            rules = rules.replace(old, new)
        (folder / "alerts.yml").write_text(rules, encoding="utf-8")
        scrape = {"job_name": "model", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}
        settings = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["alerts.yml"],
            "scrape_configs": [scrape],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.log = folder / "prometheus.log"
        command = ["prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
        command += [f"--web.listen-address=127.0.0.1:{self.port}"]
        self.process = subprocess.Popen(command, stdout=self.log.open("w"), stderr=subprocess.STDOUT)

    def query(self, expression: str) -> list[dict]:
        """The result of an instant query; nothing while Prometheus starts."""
        url = f"http://127.0.0.1:{self.port}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                return json.load(response)["data"]["result"]
        except urllib.error.HTTPError as error:
            if error.code == 503:
                return []
            raise AssertionError(f"{expression}: {error.read().decode()}") from error
        except OSError:
            assert self.process.poll() is None, self.log.read_text()
            return []

    def firing(self) -> set[tuple[str, str]]:
        """The alerts that fire, and the column each speaks of."""
        return {
            (a["metric"]["alertname"], a["metric"].get("column", "")) for a in self.query('ALERTS{alertstate="firing"}')
        }

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture(scope="module")
def server(served: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(served, tmp_path_factory.mktemp("scraped"), ML_SERVICE_WORKERS="2") as started:
        yield started


@pytest.fixture(scope="module")
def prometheus(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    started = Prometheus(tmp_path_factory.mktemp("prometheus"), server.port)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def rows(served: Project) -> list[dict]:
    """Rows as training saw them."""
    done = served.run("python", "-c", SAMPLE.replace("PACKAGE", served.package.name))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def until(true: Callable[[], bool], send: Callable[[], None]) -> None:
    """Send requests, one batch a second, until something is so."""
    end = time.monotonic() + TIMEOUT
    while not true():
        assert time.monotonic() < end, "it did not become so in time"
        send()
        time.sleep(1)


def dashboard_queries() -> list[tuple[str, str]]:
    """Every panel's queries as Grafana would send them."""
    document = json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))
    values = {"$__rate_interval": "40s", "$job": "model", "$column": "total_items"}
    found = []
    for panel in document["panels"]:
        for target in panel["targets"]:
            query = target["expr"]
            for name, value in values.items():
                query = query.replace(name, value)
            found.append((panel["title"], query))
    return found


def test_the_alerts_fire_and_resolve_and_every_panel_has_data(
    server: Server, prometheus: Prometheus, rows: list[dict]
) -> None:
    chance = random.Random(0)

    def usual() -> None:
        assert server.predict({"records": chance.sample(rows, 200)})[0] == 200

    def moved() -> None:
        batch = [row | {"total_items": min(20_000, row["total_items"] * 50)} for row in chance.sample(rows, 200)]
        assert server.predict({"records": batch})[0] == 200
        assert server.predict({"records": [rows[0] | {"total_items": -1}]})[0] == 422

    until(lambda: bool(prometheus.query("ml:inputs:count1d > 1000")), usual)
    assert prometheus.firing() == set()
    distances = {d["metric"]["column"]: float(d["value"][1]) for d in prometheus.query("ml:inputs:distance1d")}
    assert max(distances.values()) < 0.15, distances
    assert "as_of" not in distances  # dates move on by themselves
    assert len(distances) == 9

    until(lambda: {("ModelInputMoved", "total_items"), ("ModelRequestsRefused", "")} <= prometheus.firing(), moved)
    assert {column for alert, column in prometheus.firing() if alert == "ModelInputMoved"} == {"total_items"}
    empty = [(title, query) for title, query in dashboard_queries() if not prometheus.query(query)]
    assert empty == []
    rules = {r["metric"]["rule"] for r in prometheus.query("ml_refusals_total")}
    assert any(rule.startswith("minimum") for rule in rules), rules

    until(lambda: prometheus.firing() == set(), usual)


def test_with_their_own_windows_the_rules_fire_when_they_should(tmp_path: Path) -> None:
    """With the windows of the file itself, on made-up series: what fires, after how long, and what does not."""
    shutil.copy(MONITORING / "alerts.yml", tmp_path)
    bins = {"missing": 0, "<= 1": 0.5, "above": 0.5}

    def series(column: str, rates: dict[str, int]) -> list[dict]:
        made = [
            {"series": f'ml_inputs_total{{job="m",column="{column}",bin="{b}"}}', "values": f"0+{r}x2000"}
            for b, r in rates.items()
        ]
        return made + [
            {"series": f'ml_inputs_reference{{job="m",column="{column}",bin="{b}"}}', "values": f"{share}x2000"}
            for b, share in bins.items()
        ]

    alert = {"severity": "warning", "job": "m", "column": "moved"}
    test = {
        "interval": "1m",
        "input_series": [
            *series("steady", {"missing": 0, "<= 1": 5, "above": 5}),
            *series("moved", {"missing": 0, "<= 1": 9, "above": 1}),
            *series("rare", {"missing": 0, "<= 1": 0, "above": 0}),
            {"series": 'up{job="m",instance="i"}', "values": "1x100 0x1900"},
            {"series": 'ml_requests_total{job="m",path="/predict",status="200"}', "values": "0+10x100 _x1900"},
        ],
        "alert_rule_test": [
            {"eval_time": "1h", "alertname": "ModelInputMoved", "exp_alerts": []},
            {"eval_time": "4h", "alertname": "ModelInputMoved", "exp_alerts": [{"exp_labels": alert}]},
            {"eval_time": "102m", "alertname": "ModelServiceDown", "exp_alerts": []},
            {
                "eval_time": "2h",
                "alertname": "ModelServiceDown",
                "exp_alerts": [{"exp_labels": {"severity": "critical", "job": "m", "instance": "i"}}],
            },
        ],
    }
    text = (MONITORING / "alerts.yml").read_text(encoding="utf-8")
    annotations = {
        r["alert"]: r["annotations"] for g in yaml.safe_load(text)["groups"] for r in g["rules"] if "alert" in r
    }
    for case in test["alert_rule_test"]:
        for expected in case["exp_alerts"]:
            written = annotations[case["alertname"]]
            filled = {
                "{{ $labels.column }}": "moved",
                "{{ $value | humanizePercentage }}": "40%",
                "{{ $labels.instance }}": "i",
            }
            for old, new in filled.items():
                written = {key: value.replace(old, new) for key, value in written.items()}
            expected["exp_annotations"] = written
    (tmp_path / "test.yml").write_text(
        yaml.safe_dump({"rule_files": ["alerts.yml"], "tests": [test]}), encoding="utf-8"
    )
    done = subprocess.run(["promtool", "test", "rules", "test.yml"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def scraped(own_table: Project, served: Project, tmp_path_factory: pytest.TempPathFactory) -> list[tuple]:
    """What the service of a hostile table shows after it has answered the rows that judged its model."""
    hostile = Project(own_table.copy(tmp_path_factory.mktemp("hostile") / "project").root, served.environment)
    chance = random.Random(0)
    columns = {
        "kind": [chance.choice(CATEGORIES) for _ in range(1200)],
        "grade": [chance.choice([1, 2, 3, ""]) for _ in range(1200)],
        "flag": [chance.choice(["true", "false", ""]) for _ in range(1200)],
        "area": [chance.choice(["", round(chance.lognormvariate(5, 1), 2)]) for _ in range(1200)],
        "rooms": [chance.randint(1, 9) for _ in range(1200)],
        "town": [chance.choice(["", f"town {chance.randint(0, 90)}"]) for _ in range(1200)],
        "built": [f"{chance.randint(1950, 2020)}-0{chance.randint(1, 9)}-1{chance.randint(0, 9)}" for _ in range(1200)],
        "price": [chance.lognormvariate(14, 1) for _ in range(1200)],
    }
    with (hostile.root / "houses.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([list(columns), *zip(*columns.values(), strict=True)])
    begun = hostile.run("ml", "init", "houses.csv", "--target", "price")
    assert begun.returncode == 0, begun.stderr
    contract = yaml.safe_load((hostile.root / "contract.yaml").read_text(encoding="utf-8"))
    properties = {p["name"]: p for p in contract["schema"][0]["properties"]}
    properties["grade"] |= {"enum": [{"value": 1}, {"value": 2}, {"value": 3}], "logicalTypeOptions": {}}
    properties["kind"] |= {"enum": [{"value": value} for value in CATEGORIES], "logicalTypeOptions": {}}
    properties["kind"].pop("customProperties", None)  # NA is a category here
    (hostile.root / "contract.yaml").write_text(yaml.safe_dump(contract, sort_keys=False), encoding="utf-8")
    with (hostile.root / "params.yaml").open("a", encoding="utf-8") as file:
        file.write("\nmodel: {max_iter: 10}\n")
    trained = hostile.run("ml", "train")
    assert trained.returncode == 0, trained.stderr
    done = hostile.run("python", "-c", SCRAPE.replace("PACKAGE", hostile.package.name))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_was_trained_on_is_no_drift_whatever_its_categories_are_called(scraped: list[tuple], tmp_path: Path):
    """Rows as in training, for hours, through the real rules: no distance and no alarm; and moved, a distance."""
    reference: dict[str, float] = {}
    for name, labels, value in scraped:
        if name == "ml_inputs_reference":
            reference[labels["column"]] = reference.get(labels["column"], 0) + value
    assert reference.keys() == {"kind", "grade", "flag", "area", "rooms", "town"}  # dates move on by themselves
    assert all(total == pytest.approx(1) for total in reference.values())

    def series(kind: str | None = None) -> list[dict]:
        """What was scraped, over a day and more; with ``kind``, every row of that category."""
        made = []
        for name, labels, value in scraped:
            if kind and name == "ml_inputs_total" and labels["column"] == "kind":
                value = 300.0 if labels["bin"] == kind else 0.0
            shown = ",".join(f"{key}={json.dumps(text)}" for key, text in ({"job": "m"} | labels).items())
            growing = f"0+{value:g}x2000" if name.endswith(("_total", "_bucket", "_count")) else f"{value!r}x2000"
            made.append({"series": f"{name}{{{shown}}}", "values": growing})
        answered = 'ml_requests_total{job="m",path="/predict",status="200"}'
        return [*made, {"series": answered, "values": "0+300x2000"}]

    def count(expression: str, expected: int) -> dict:
        return {"expr": expression, "eval_time": "4h", "exp_samples": [{"labels": "{}", "value": expected}]}

    shutil.copy(MONITORING / "alerts.yml", tmp_path)
    steady = [count("count(ml:inputs:distance1d < 0.001)", 6), count("count(ml:prediction:distance1d < 0.001)", 1)]
    calm = [
        {"eval_time": "4h", "alertname": name, "exp_alerts": []} for name in ("ModelInputMoved", "ModelPredictionMoved")
    ]
    moved = [
        count('count(ml:inputs:distance1d{column="kind"} > 0.8)', 1),
        count("count(ml:inputs:distance1d < 0.001)", 5),
    ]
    tests = [{"interval": "1m", "input_series": series(), "promql_expr_test": steady, "alert_rule_test": calm}]
    tests += [
        {"interval": "1m", "input_series": series(k), "promql_expr_test": moved} for k in ("missing", "other", "above")
    ]
    (tmp_path / "test.yml").write_text(yaml.safe_dump({"rule_files": ["alerts.yml"], "tests": tests}), encoding="utf-8")
    done = subprocess.run(["promtool", "test", "rules", "test.yml"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_files_are_what_prometheus_and_grafana_expect(project: Project) -> None:
    done = subprocess.run(
        ["promtool", "check", "rules", "alerts.yml"], cwd=project.root / "monitoring", capture_output=True
    )
    assert done.returncode == 0, done.stdout.decode()
    document = json.loads((project.root / "monitoring/dashboard.json").read_text(encoding="utf-8"))
    identifiers = [panel["id"] for panel in document["panels"]]
    assert len(identifiers) == len(set(identifiers)) == 10
    assert all(
        target["datasource"]["uid"] == "${datasource}" for panel in document["panels"] for target in panel["targets"]
    )
