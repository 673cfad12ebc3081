"""The project's service beside two others with the same model, in one run: latency and throughput.

    uv run --no-project benchmarks/service.py PROJECT [--seconds 5]

PROJECT is a baked project with a run in runs/model and the serve group installed. Beside it stand a BentoML service
written as in BentoML's quickstart, and ``mlflow models serve`` (installed into a scratch environment). Load comes from
``wrk`` where it is installed (``apt-get install wrk``), else from a small asyncio client; server and client share this
machine's cores, so read the ratios, not the numbers.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CLIENTS = (1, 16, 64)
QUICKSTART = """
import os
import bentoml
import pandas as pd

with bentoml.importing():
    from mlcicd.training import model_io as models

@bentoml.service
class Quickstart:
    def __init__(self) -> None:
        from pathlib import Path
        self.model = models.load(Path(os.environ["MODEL"]))

    @bentoml.api
    def predict(self, records: list[dict]) -> list[float]:
        frame = pd.DataFrame(records)
        for column in {dates}:
            frame[column] = pd.to_datetime(frame[column])
        return self.model.predict_proba(frame)[:, 1].tolist()
"""
PREPARE = """
import json, sys, time
from pathlib import Path
from mlcicd.training import model_io as models; from mlcicd.contract import document as contract
from mlcicd.training.run import Run
from mlcicd.packaging.smoke import sample
run = Run(Path("runs/model"))
obj = contract.load(run.path / "contract.yaml").table
records, _ = sample(run, 1)
record = {{k: v for k, v in records[0].items() if k != obj.id}}
model, frame = models.load(run.path / "model.skops"), run.holdout[[p.name for p in obj.features]]
def median(rows):
    part, times = frame.head(rows), []
    for _ in range(100):
        began = time.perf_counter(); model.predict_proba(part); times.append(time.perf_counter() - began)
    return 1000 * sorted(times)[50]
dates = [p.name for p in obj.features if p.logicalType in ("date", "timestamp")]
print(json.dumps({{"record": record, "dates": dates, "bare": median(1), "bare64": median(64)}}))
"""
MLFLOW = """
import sys
from pathlib import Path
import mlflow
from mlcicd.training import model_io as models
from mlcicd.training.run import Run
run = Run(Path("runs/model"))
model, frame = models.load(run.path / "model.skops"), run.holdout.drop(columns="row")
signature = mlflow.models.infer_signature(frame, model.predict_proba(frame.head()))
options = {{"pyfunc_predict_fn": "predict_proba", "serialization_format": "cloudpickle"}}
mlflow.sklearn.save_model(model, sys.argv[1], signature=signature, **options)
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def server(command: list[str], where: Path, ready: str, env: dict[str, str]) -> Iterator[float]:
    """Run a server; yield the seconds until it was ready."""
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command, cwd=where, env=os.environ | env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            while True:
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(ready, timeout=2).read()
                    break
                if process.poll() is not None or time.monotonic() - began > 120:
                    log.seek(0)
                    sys.exit(f"{' '.join(command)} did not start:\n{log.read()[-3000:]}")
                time.sleep(0.02)
            yield time.monotonic() - began
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def load(url: str, body: str, clients: int, seconds: int, scratch: Path) -> tuple[float, float, float, int]:
    """Return p50 and p99 in milliseconds, requests a second, and answers other than 200."""
    if not shutil.which("wrk"):
        return asyncio.run(_load(url, body.encode(), clients, seconds))
    script = scratch / "post.lua"
    script.write_text(
        f'wrk.method="POST"\nwrk.headers["Content-Type"]="application/json"\nwrk.body=[==[{body}]==]\n'
        'done=function(s,l,r) io.write(string.format("RESULT %f %f %f %d %d\\n", l:percentile(50)/1000, '
        "l:percentile(99)/1000, s.requests/(s.duration/1e6), s.errors.status, "
        "s.errors.connect+s.errors.read+s.errors.write+s.errors.timeout)) end\n"
    )
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "-s", str(script), url]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    p50, p99, rate, status, errors = re.search(r"RESULT (\S+) (\S+) (\S+) (\d+) (\d+)", out).groups()  # type: ignore[union-attr]
    return float(p50), float(p99), float(rate), int(status) + int(errors)


async def _load(url: str, body: bytes, clients: int, seconds: float) -> tuple[float, float, float, int]:
    host, port, path = re.fullmatch(r"http://([^:/]+):(\d+)(/.*)", url).groups()  # type: ignore[union-attr]
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    until, times, bad = time.monotonic() + seconds, [], 0

    async def client() -> None:
        nonlocal bad
        reader, writer = await asyncio.open_connection(host, int(port))
        while time.monotonic() < until:
            began = time.perf_counter()
            writer.write(head.encode() + body)
            lines = (await reader.readuntil(b"\r\n\r\n")).decode()
            await reader.readexactly(int(re.search(r"content-length: (\d+)", lines, re.IGNORECASE)[1]))  # type: ignore[index]
            times.append(1000 * (time.perf_counter() - began))
            bad += " 200 " not in lines.partition("\r\n")[0]
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    times.sort()
    return times[len(times) // 2], times[int(len(times) * 0.99)], len(times) / seconds, bad


def versions(python: Path) -> dict[str, str]:
    """Every package of an environment, and its version."""
    command = ["uv", "pip", "freeze", "--python", str(python)]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return dict(line.split("==") for line in found if "==" in line)


Load = tuple[float, float, float, int]  # p50 and p99 in milliseconds, requests a second, answers other than 200


def measure(project: Path, seconds: int, mlflow: bool) -> tuple[dict[str, Any], dict[str, dict[int, Load]]]:
    """Measure each server in turn, and print it.

    Returns
    -------
    facts : ``bare`` and ``bare64``, milliseconds of ``predict_proba`` for one row and for 64; ``versions`` of packages
    loads : by server and by clients
    """
    package = next((project / "src").glob("*/service.py")).parent.name
    python = str(project / ".venv" / "bin" / "python")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

    def script(text: str, interpreter: str = python, *arguments: str) -> str:
        env = os.environ | {"PYTHONPATH": str(project / "src")}
        command = [interpreter, "-c", text.format(package=package), *arguments]
        return subprocess.run(command, cwd=project, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout

    facts = json.loads(script(PREPARE).splitlines()[-1])
    facts["versions"] = versions(Path(python))
    record, bare = facts["record"], facts["bare"]
    print(f"predict_proba in this process: {bare:.2f} ms for one row, {facts['bare64']:.2f} ms for 64\n")
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        (scratch / "quickstart.py").write_text(QUICKSTART.format(package=package, dates=facts["dates"]))
        bento = [python, "-m", "bentoml", "serve", "--host", "127.0.0.1"]
        ml = [python, "-m", "mlcicd.cli", "serve"]
        model = {"MODEL": str(project / "runs/model/model.skops")}
        body = json.dumps({"records": [record]})
        servers = {
            "quickstart": (
                lambda p: [*bento, f"--port={p}", "quickstart:Quickstart"],
                scratch,
                "/readyz",
                "/predict",
                body,
                model,
            ),
            "ours, 1 worker": (
                lambda p: [*ml, f"--port={p}"],
                project,
                "/readyz",
                "/predict",
                body,
                {"ML_SERVICE_WORKERS": "1"},
            ),
            "ours": (lambda p: [*ml, f"--port={p}"], project, "/readyz", "/predict", body, {}),
        }
        if mlflow:
            env = scratch / "env"
            same = ("scikit-learn", "numpy", "scipy", "skops", "pydantic", "pyyaml")
            pins = [f"{name}=={version}" for name, version in facts["versions"].items() if name in same]
            subprocess.run(["uv", "venv", "-q", "--python", python, str(env)], check=True)
            needs = ["mlflow", "typer", "pyarrow", *pins]
            subprocess.run(["uv", "pip", "install", "-q", "--python", str(env / "bin/python"), *needs], check=True)
            facts["versions"] = versions(env / "bin/python") | facts["versions"]
            script(MLFLOW, str(env / "bin/python"), str(scratch / "model"))
            serve = [str(env / "bin/mlflow"), "models", "serve", "-m", str(scratch / "model"), "--env-manager", "local"]
            servers["mlflow"] = (
                lambda p: [*serve, "--host", "127.0.0.1", "-p", str(p)],
                project,
                "/ping",
                "/invocations",
                json.dumps({"dataframe_records": [record]}),
                {"PYTHONPATH": str(project / "src"), "PATH": f"{env / 'bin'}:{os.environ['PATH']}"},
            )
        found: dict[str, dict[int, Load]] = {}
        print(
            f"{'':16}{'ready s':>8}"
            + "".join(f"{f'{c} clients: p50 ms':>20}{'p99 ms':>8}{'req/s':>8}{'bad':>5}" for c in CLIENTS)
        )
        for name, (command, where, ready, path, content, env) in servers.items():
            port = free_port()
            with server(command(port), where, f"http://127.0.0.1:{port}{ready}", env) as started:
                url = f"http://127.0.0.1:{port}{path}"
                load(url, content, 4, 2, scratch)
                found[name] = {c: load(url, content, c, seconds, scratch) for c in CLIENTS}
            cells = "".join(f"{p50:20.1f}{p99:8.1f}{rate:8.0f}{bad:5d}" for p50, p99, rate, bad in found[name].values())
            print(f"{name:16}{started:8.1f}{cells}", flush=True)
    return facts, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--skip-mlflow", action="store_true")
    options = parser.parse_args()
    facts, found = measure(options.project.resolve(), options.seconds, not options.skip_mlflow)
    ours = found["ours"]
    times = ours[1][0] / facts["bare"]
    print(f"\none record, p50: {ours[1][0]:.2f} ms = {times:.2f} x predict_proba (target <= 1.5 x or 3 ms)")
    for other, target in (("quickstart", 5), ("mlflow", 3)):
        if other in found:
            print(
                f"64 clients: {ours[64][2] / found[other][64][2]:.1f} x the requests/s of {other} (target {target} x)"
            )


if __name__ == "__main__":
    main()
