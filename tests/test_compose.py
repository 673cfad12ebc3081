"""The answer `docker`: its compose file as it is, under podman, with service, Prometheus and Grafana in containers.

The service's image is the real one. No image registry is asked: Prometheus is Debian's, and grafana.py stands in for
Grafana. Containers share this machine's network here, so that names stand for addresses of loopback.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from conftest import TEMPLATE, Project, bake, clean_environ
from containers import podman
from test_prometheus import WINDOWS
from test_service import ROW

COMPOSE = ("uvx", "--quiet", "--from", "podman-compose>=1.5", "podman-compose", "--in-pod=false")
SCHEMA = ("uvx", "--quiet", "check-jsonschema", "--builtin-schema", "vendor.compose-spec")
GIVEN = {"IMAGE": "localhost/churn:test", "GRAFANA_PASSWORD": "only-the-tests-know-it"}
# The address of each service: no port of anybody else is taken, and the files' own ports stay.
NET = f"127.{os.getpid() % 250 + 2}.{time.monotonic_ns() // 1000 % 250}"
HOSTS = {"model": f"{NET}.2", "prometheus": f"{NET}.3", "grafana": f"{NET}.4"}
IMAGES = {
    "prometheus": """FROM docker.io/library/python:{python}-slim
COPY prometheus /bin/prometheus
RUN mkdir /prometheus && chown 65534:65534 /prometheus
USER 65534:65534
ENTRYPOINT ["/bin/prometheus"]
CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
""",
    "grafana": """FROM localhost/churn:test
COPY grafana.py /grafana.py
USER 472:472
HEALTHCHECK NONE
ENTRYPOINT ["/venv/bin/python", "/grafana.py"]
""",
}


class Stack(NamedTuple):
    """The three containers."""

    folder: Path
    environ: dict[str, str]

    def compose(self, *arguments: str) -> str:
        done = subprocess.run(
            [*COMPOSE, "--file", "compose.yaml", "--file", "here.yaml", *arguments],
            cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, f"{arguments}: {done.stderr[-3000:]}"
        return done.stdout

    def ask(self, service: str, path: str, body: Any = None, user: str = "") -> tuple[int, Any]:
        port = {"prometheus": 9090}.get(service, 3000)
        headers = {"Content-Type": "application/json"}
        headers |= {"Authorization": f"Basic {base64.b64encode(user.encode()).decode()}"} if user else {}
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"http://{HOSTS[service]}:{port}{path}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                text = response.read()
                return response.status, json.loads(text) if text.startswith((b"{", b"[")) else text.decode()
        except urllib.error.HTTPError as error:
            return error.code, None
        except OSError:
            return 0, None

    def alerts(self) -> dict[str, str]:
        """The state of each alert that is pending or fires."""
        answer = self.ask("prometheus", "/api/v1/alerts")[1]
        return {alert["labels"]["alertname"]: alert["state"] for alert in answer["data"]["alerts"]} if answer else {}

    def until(self, true: Callable[[], Any], seconds: float = 90) -> None:
        end = time.monotonic() + seconds
        while not true():
            if time.monotonic() > end:
                pytest.fail("it did not become so in time\n" + self.compose("logs"))
            time.sleep(0.5)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bake(tmp_path_factory.mktemp("compose"), deploy="docker")


@pytest.fixture(scope="module")
def stack(
    root: Path, served: Project, image: str, engine: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """The project's own files, with the windows of its alerts and the interval of its scrapes cut to seconds."""
    if shutil.which("prometheus") is None:
        pytest.skip("Prometheus is not installed: apt-get install prometheus")
    assert GIVEN["IMAGE"].endswith(image)
    version = served.run("python", "-c", "import sys; print('{}.{}'.format(*sys.version_info))").stdout.strip()
    folder = root / "deploy/compose"
    services = yaml.safe_load((folder / "compose.yaml").read_text(encoding="utf-8"))["services"]
    context = tmp_path_factory.mktemp("images")
    shutil.copy(TEMPLATE / "tests/grafana.py", context)
    shutil.copy(str(shutil.which("prometheus")), context)
    for name, text in IMAGES.items():
        (context / name).with_suffix(".containerfile").write_text(text.format(python=version), encoding="utf-8")
        file = str(context / f"{name}.containerfile")
        podman(engine, "build", "--quiet", "--file", file, "--tag", services[name]["image"], str(context))
    alerts = root / "monitoring/alerts.yml"
    rules = alerts.read_text(encoding="utf-8")
    for old, new in {**WINDOWS, "for: 5m": "for: 2s"}.items():
        assert old in rules
        rules = rules.replace(old, new)
    alerts.write_text(rules, encoding="utf-8")
    scrapes = folder / "prometheus.yml"
    scrapes.write_text(scrapes.read_text(encoding="utf-8").replace("15s", "1s"), encoding="utf-8")
    here: dict[str, Any] = {name: {"network_mode": "host", "ports": []} for name in services}
    for service in here.values():
        service["extra_hosts"] = [f"{name}:{address}" for name, address in HOSTS.items()]
    bind = f"--config=python:mlcicd.serving.gunicorn_conf --bind={HOSTS['model']}:3000"
    here["model"]["environment"] = {"GUNICORN_CMD_ARGS": bind}
    here["grafana"]["environment"] = {"GF_SERVER_HTTP_ADDR": HOSTS["grafana"], "RATE_INTERVAL": "40s"}
    options = ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
    here["prometheus"]["command"] = [*options, f"--web.listen-address={HOSTS['prometheus']}:9090"]
    (folder / "here.yaml").write_text(yaml.safe_dump({"services": here}), encoding="utf-8")
    found = Stack(folder, clean_environ() | engine | GIVEN)
    try:
        found.compose("up", "--detach")
        yield found
    finally:
        found.compose("down", "--volumes", "--timeout=5")


def test_only_who_wants_docker_gets_its_files(root: Path, tmp_path: Path) -> None:
    none = bake(tmp_path, deploy="none")
    assert {str(path.relative_to(root)) for path in root.glob("deploy/**/*") if path.is_file()} >= {
        f"deploy/compose/{name}.y{'a' * (name == 'compose')}ml"
        for name in ("compose", "prometheus", "grafana-datasource", "grafana-dashboards")
    }
    assert not (none / "deploy").exists()
    assert "compose" not in "".join(path.name for path in none.rglob("*") if ".git" not in path.parts)


def test_the_file_is_one_that_compose_understands(root: Path, tmp_path: Path) -> None:
    file = root / "deploy/compose/compose.yaml"
    checked = subprocess.run([*SCHEMA, str(file)], env=clean_environ(), capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    misspelt = tmp_path / "compose.yaml"
    misspelt.write_text(file.read_text(encoding="utf-8").replace("read_only:", "readonly:"), encoding="utf-8")
    assert subprocess.run([*SCHEMA, str(misspelt)], env=clean_environ(), capture_output=True).returncode == 1
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        return  # this repository's CI on GitHub has it
    command = [docker, "compose", "config", "--quiet"]
    done = subprocess.run(command, cwd=file.parent, env=clean_environ() | GIVEN, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_three_containers_show_everything(stack: Stack) -> None:
    stack.until(lambda: stack.ask("model", "/readyz")[0] == 200)
    stack.until(lambda: stack.ask("prometheus", "/-/ready")[0] == 200)
    assert stack.ask("grafana", "/panels")[0] == 401
    broken = ROW | {"total_items": -1}

    def asked() -> dict[str, str]:
        assert stack.ask("model", "/predict", {"records": [ROW] * 60})[0] == 200
        assert stack.ask("model", "/predict", {"records": [broken]})[0] == 422
        return stack.alerts()

    stack.until(lambda: asked().get("ModelRequestsRefused") == "firing")
    admin = f"admin:{GIVEN['GRAFANA_PASSWORD']}"
    stack.until(
        lambda: all(all(series) for series in (stack.ask("grafana", "/panels", user=admin)[1] or {"": [0]}).values())
    )
    panels = stack.ask("grafana", "/panels", user=admin)[1]
    document = json.loads((stack.folder / "../../monitoring/dashboard.json").read_text(encoding="utf-8"))
    assert panels.keys() == {panel["title"] for panel in document["panels"]}
    stack.compose("stop", "model")
    stack.until(lambda: stack.alerts().get("ModelServiceDown") == "firing")


def test_a_missing_value_is_named(root: Path) -> None:
    command = [*COMPOSE, "config"]
    environ = {name: value for name, value in clean_environ().items() if name not in GIVEN}
    done = subprocess.run(command, cwd=root / "deploy/compose", env=environ, capture_output=True, text=True)
    assert done.returncode != 0
    assert (
        "IMAGE is missing a value: set it to the image of a release, REGISTRY/OWNER/NAME@sha256:DIGEST" in done.stderr
    )
