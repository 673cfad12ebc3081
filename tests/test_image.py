"""The image, really built (images.py) and really run."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Project, clean_environ
from containers import podman
from test_audit import assert_broken, flip
from test_bentoml import CLIENTS
from test_service import ROW

LIMIT = 480e6
ABSENT = ("pyarrow", "matplotlib", "skrub", "typer", "pip", "uv", "pytest", "mypy")


@pytest.fixture(scope="module")
def container(image: str, engine: dict[str, str]) -> Iterator[tuple[str, float]]:
    """A running container with a read-only root file system: where it listens, and the seconds it took to be ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["gunicorn", f"--bind=127.0.0.1:{port}"]
    began = time.monotonic()
    safe = ["--read-only", "--read-only-tmpfs=false", "--cap-drop=ALL"]
    podman(engine, "run", "--detach", *safe, "--name", "churn", image, *command)
    try:
        while subprocess.run(["curl", "-sf", f"http://127.0.0.1:{port}/readyz"], capture_output=True).returncode:
            assert time.monotonic() - began < 90, podman(engine, "logs", "churn")
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}", time.monotonic() - began
    finally:
        podman(engine, "rm", "--force", "--time", "5", "churn")


def test_it_is_small(image: str, engine: dict[str, str]) -> None:
    size = int(podman(engine, "image", "inspect", "--format", "{{.Size}}", image))
    print(f"image: {size / 1e6:.0f} MB")
    assert size <= LIMIT


def test_it_says_what_it_is(served: Project, image: str, engine: dict[str, str]) -> None:
    about = json.loads(podman(engine, "image", "inspect", image))[0]
    labels = about["Labels"]
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=served.root, capture_output=True, text=True
    ).stdout.strip()
    assert labels["org.opencontainers.image.revision"] == commit
    assert labels["org.opencontainers.image.version"].startswith(commit[:7])
    assert 0.7 < json.loads(labels["ml.metrics"])["roc_auc"] < 0.9
    assert len(labels["ml.contract.sha256"]) == 64 and "requirements.txt" in labels["ml.sbom"]
    assert about["User"] == "10001:10001"
    assert "/readyz" in json.dumps(about["Healthcheck"])


def test_it_holds_nothing_that_it_does_not_need(image: str, engine: dict[str, str]) -> None:
    script = (
        "for tool in gcc cc make git pip uv bentoml; do command -v $tool; done; "
        "cd /venv/lib/python3*/site-packages; ls; echo TESTS; find /venv /bento -type d -name tests; echo CACHES; "
        # Debian's python3-venv, in the stand-in for the base image, brings pip's wheel in a folder of its own.
        "find / -xdev -name '*.whl' -not -path '/usr/share/python-wheels/*' -o -xdev -path '*/.cache/*' -type f"
    )
    found = podman(engine, "run", "--rm", "--user", "0", image, "sh", "-c", script)
    tools, caches = found.partition("TESTS")[0].split(), found.partition("TESTS")[2].split()
    assert tools[0] == "/venv/bin/bentoml", tools[:5]
    assert not set(ABSENT) & set(tools)
    assert caches == ["CACHES"], caches


def test_it_answers_as_the_run_did_with_a_read_only_file_system(served: Project, container: tuple[str, float]) -> None:
    url, seconds = container
    print(f"ready after {seconds:.1f} s")
    smoke = served.run("ml", "smoke", url)
    assert smoke.returncode == 0, smoke.stdout + smoke.stderr
    asked = served.run("python", "-c", CLIENTS, url)
    assert "the clients agree" in asked.stdout, asked.stderr[-3000:]


@pytest.mark.usefixtures("container")
def test_it_is_not_root(engine: dict[str, str]) -> None:
    assert podman(engine, "exec", "churn", "id", "-u") == "10001"
    denied = subprocess.run(
        ["podman", "exec", "churn", "touch", "/bento/x"], env=clean_environ() | engine, capture_output=True
    )
    assert denied.returncode != 0


HOSTED = """
import csv, http.client, io, json, subprocess, sys, time
row = json.loads(sys.argv[1])
def ask(method, path, body=None, kind="application/json"):
    connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=10)
    connection.request(method, path, body, {"Content-Type": kind})
    response = connection.getresponse()
    return response.status, response.read().decode()
def ready():
    try:
        return ask("GET", "/ping") == (200, "")
    except OSError:
        return False
while not ready():
    assert time.monotonic() - float(sys.argv[2]) < 90, "not ready"
    time.sleep(0.02)
print("ready", time.monotonic() - float(sys.argv[2]))
body = json.dumps({"records": [row]}).encode()
table = io.StringIO()
csv.DictWriter(table, list(row)).writeheader()
csv.DictWriter(table, list(row)).writerow(row)
print("same", ask("POST", "/invocations", body) == ask("POST", "/invocations", table.getvalue(), "text/csv"))
flight = http.client.HTTPConnection("127.0.0.1", 8080, timeout=30)
flight.putrequest("POST", "/invocations")
flight.putheader("Content-Type", "application/json")
flight.putheader("Content-Length", str(len(body)))
flight.endheaders(body[:20])
time.sleep(0.5)
subprocess.run(["podman", "kill", "--signal", "TERM", "hosted"], check=True, stdout=subprocess.DEVNULL)
stopped = time.monotonic()
time.sleep(1)
flight.send(body[20:])
print("in flight", flight.getresponse().status)
code = subprocess.run(["podman", "wait", "hosted"], check=True, capture_output=True, text=True).stdout.strip()
print("ended", code, time.monotonic() - stopped)
"""


def test_sagemaker_can_host_it_as_it_is(served: Project, image: str, engine: dict[str, str]) -> None:
    """As root, with `serve` in place of CMD, on 8080, in a network of its own; SIGTERM, and SIGKILL after 30 s."""
    about = json.loads(podman(engine, "image", "inspect", image))[0]["Config"]
    assert not about.get("Entrypoint"), "the argument would go to it"
    began = time.monotonic()
    podman(engine, "run", "--detach", "--network", "none", "--user", "0", "--name", "hosted", image, "serve")
    try:
        process = podman(engine, "inspect", "--format", "{{.State.Pid}}", "hosted")
        python = served.environment / "bin/python"
        asked = subprocess.run(
            ["nsenter", f"--net=/proc/{process}/ns/net", python, "-c", HOSTED, json.dumps(ROW), str(began)],
            env=clean_environ() | engine, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert asked.returncode == 0, asked.stderr + podman(engine, "logs", "hosted")
        said = dict(line.rsplit(" ", 1) for line in asked.stdout.splitlines())
        print(f"hosted: {said}")
        assert (said["same"], said["in flight"]) == ("True", "200")
        assert float(said["ended 0"]) < 30
    finally:
        podman(engine, "rm", "--force", "--time", "5", "hosted")


@pytest.mark.usefixtures("image")
def test_buildah_builds_it_too(served: Project, run: Path, engine: dict[str, str]) -> None:
    command = ["ml", "package", "--run", str(run), "--engine", "buildah", "--image", "churn:buildah"]
    done = served.run(*command, timeout=900, **engine)
    assert done.returncode == 0, done.stdout + done.stderr
    assert podman(engine, "image", "inspect", "--format", "{{.User}}", "localhost/churn:buildah") == "10001:10001"


def test_it_is_traced_to_what_it_was_made_of(served: Project, image: str, engine: dict[str, str]) -> None:
    done = served.run("ml", "audit", image, **engine)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "review: Model review: better ✅" in done.stdout


@pytest.mark.parametrize("name", ["model.skops", "contract.yaml", "review.md"])
def test_one_byte_inside_it_is_noticed(
    served: Project, image: str, engine: dict[str, str], name: str, tmp_path: Path
) -> None:
    container, place, file = podman(engine, "create", image), f"/bento/src/run/{name}", tmp_path / name
    try:
        podman(engine, "cp", f"{container}:{place}", str(file))
        flip(file)
        podman(engine, "cp", str(file), f"{container}:{place}")
        podman(engine, "commit", "--quiet", container, "churn:tampered")
    finally:
        podman(engine, "rm", container)
    assert_broken(served.run("ml", "audit", "churn:tampered", **engine), name)


def test_one_byte_of_the_data_it_learned_from_is_noticed(
    served: Project, image: str, engine: dict[str, str], tmp_path: Path
) -> None:
    copy = served.copy(tmp_path / "copy")
    flip(copy.root / "data/transactions.csv.gz")
    assert_broken(copy.run("ml", "audit", image, **engine), "data/transactions.csv.gz")


def test_an_engine_that_is_not_there_is_named(served: Project, tmp_path: Path) -> None:
    done = served.run(
        "ml", "package", "--engine", "docker", PATH=str(served.environment / "bin"), BENTOML_HOME=str(tmp_path)
    )
    assert done.returncode == 2 and done.stderr == "ml: --engine docker: not installed; install it, or choose another\n"
