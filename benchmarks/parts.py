"""The parts of `make bench`: each measures ours and a peer in turn, on this machine, and returns rows of the table."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import images
import service
from ground import BAKE, HERE, FailedError, Ground, Row, cells, run, seconds

TRAIN_AIMS = {20_000: 1.25, 1_000_000: 1.10}
SETS, SIZE = "8", "96"  # training sets a world, and simulated pull requests: a tenth of what docs/verdicts.md has


def bake(ground: Ground) -> Iterator[Row]:
    """Both make a project without touching the network; ours also makes a git repository and its first commit."""
    kedro = ground.peer("kedro") / "kedro"
    ours, theirs = [], []
    for _ in range(5):
        with (
            tempfile.TemporaryDirectory(dir=ground.folder) as one,
            tempfile.TemporaryDirectory(dir=ground.folder) as two,
        ):
            ours.append(seconds(*BAKE, "--output-dir", one, repeats=1, ML_CICD_SKIP_LOCK="1"))
            answers = "--name=Bench", "--tools=none", "--example=n", "--telemetry=no"
            theirs.append(seconds(kedro, "new", *answers, repeats=1, where=Path(two)))
    ours, theirs = min(ours), min(theirs)
    yield Row(
        "bake, without `uv lock`", f"{ours:.2f} s", f"`kedro new` {theirs:.2f} s", ours / theirs, "≤ 1.5 s", ours <= 1.5
    )


def helps(ground: Ground) -> Iterator[Row]:
    """The answer to --help, with warm byte code."""
    kedro, ml = ground.peer("kedro") / "kedro", ground.churn / ".venv/bin/ml"
    ours, theirs = (seconds(program, "--help", repeats=5) for program in (ml, kedro))
    peer = f"`kedro --help` {theirs:.2f} s"
    yield Row("`ml --help`", f"{ours:.2f} s", peer, ours / theirs, "≤ 0.5 s", ours <= 0.5)


def train(ground: Ground) -> Iterator[Row]:
    """The same folds, fits, seeds and predictions in a bare script."""
    python = ground.own / ".venv/bin/python"
    for rows, aim in TRAIN_AIMS.items():
        found = cells(run(python, HERE / "tables.py", "train", str(rows), REPEATS="2"))
        bare, ours = (float(cell) for cell in found[0][1:3])
        peer = f"bare scikit-learn {bare:.1f} s"
        yield Row(
            f"`ml train`, {rows:,} rows", f"{ours:.1f} s", peer, ours / bare, f"≤ {aim:.2f} ×", ours / bare <= aim
        )


def track(ground: Ground) -> Iterator[Row]:
    """`ml train` that sends its run to an MLflow server on loopback, and one that does not, in turn."""
    program, project = ground.peer("mlflow") / "mlflow", ground.tracked
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [program, "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", "sqlite:///runs.db", "--artifacts-destination", "artifacts"]
    place = ground.folder / "mlflow-server"
    place.mkdir()
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    with subprocess.Popen(command, cwd=place, env=os.environ | quiet, **silent) as server:
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(f"{address}/health")
            ml, off, on = project / ".venv/bin/ml", [], []
            for _ in range(4):  # the first run of each warms it up
                off.append(seconds(ml, "train", repeats=1, where=project, ML_TRACKING="off"))
                on.append(seconds(ml, "train", repeats=1, where=project, MLFLOW_TRACKING_URI=address))
        finally:
            os.killpg(server.pid, signal.SIGTERM)
    without, sent = min(off[1:]), min(on[1:])
    kept = sent <= 1.15 * without
    yield Row(
        "`ml train`, sent to MLflow", f"{sent:.1f} s", f"not sent {without:.1f} s", sent / without, "≤ 1.15 ×", kept
    )


def wait_for(address: str, limit: float = 300) -> None:
    """Wait until a server answers.

    Raises
    ------
    FailedError
        It does not.
    """
    end = time.monotonic() + limit
    while time.monotonic() < end:
        with suppress(OSError), urllib.request.urlopen(address, timeout=5):
            return
        time.sleep(0.5)
    raise FailedError(f"{address}: no answer in {limit:.0f} s")


def validate(ground: Ground) -> Iterator[Row]:
    """Checks of a table in memory; Great Expectations at a tenth of the rows."""
    python, gx = ground.own / ".venv/bin/python", ground.peer("great-expectations", "pandas") / "python"
    for rows in (10_000_000, 1_000_000):
        for what, *numbers in cells(run(python, HERE / "tables.py", "validate", str(rows))):
            hand, ours = (float(number) for number in numbers[:2])
            name = f"contract, {rows:,} rows × 8 columns, {what}"
            if rows == 10_000_000:
                peer = f"by hand in pandas {hand:.2f} s"
                yield Row(name, f"{ours:.2f} s", peer, ours / hand, "≤ 4 ×", ours <= 4 * hand)
            elif what == "all rows good":
                theirs = float(cells(run(gx, HERE / "gx.py", str(rows)))[0][2])
                peer = f"Great Expectations {theirs:.1f} s"
                yield Row(name, f"{ours:.2f} s", peer, ours / theirs, "< 1 ×", ours < theirs)


def serve(ground: Ground) -> Iterator[Row]:
    """The same model over HTTP, on the same cores as the clients."""
    facts, found = service.measure(ground.churn, 5, True)
    ground.versions |= {name: facts["versions"][name] for name in ("bentoml", "mlflow")}
    ours = found["ours"]
    times, bare = ours[1][0] / facts["bare"], facts["bare"]
    kept = times <= 1.5 or ours[1][0] <= 3
    peer = f"`predict_proba` of the row {bare:.2f} ms"
    yield Row("service, one client, p50", f"{ours[1][0]:.2f} ms", peer, times, "≤ 1.5 × or 3 ms", kept)
    peers = (("quickstart", "BentoML's quickstart", 5), ("mlflow", "`mlflow models serve`", 3))
    for (key, name, aim), clients in itertools.product(peers, service.CLIENTS):
        rate, theirs = ours[clients][2], found[key][clients][2]
        goal = (f"≥ {aim} ×", rate >= aim * theirs) if clients == 64 else ("", None)
        what = f"service, {clients} client{'s' * (clients > 1)}, requests/s"
        yield Row(what, f"{rate:,.0f}", f"{name} {theirs:,.0f}", rate / theirs, *goal)
    if bad := sum(load[3] for loads in found.values() for load in loads.values()):
        raise FailedError(f"{bad} requests were not answered with 200")


def image(ground: Ground) -> Iterator[Row]:
    """Both images of one bento, on the same base."""
    missing = [name for name in ("podman", "buildah", "runc", "debootstrap") if not shutil.which(name)]
    if missing or os.geteuid() != 0:
        why = f"no {', '.join(missing)}" if missing else "needs root"
        yield Row("image: size, readiness", f"skipped: {why}", "BentoML's default")
        return
    found = images.measure(ground.churn, 3)
    ours, theirs = found["ours"], found["default"]
    peer = f"BentoML's default {theirs.size:,.0f} MB"
    yield Row("image, size", f"{ours.size:,.0f} MB", peer, ours.size / theirs.size, "≤ 480 MB", ours.size <= 480)
    ready, other = (statistics.median(one.ready) for one in (ours, theirs))
    yield Row(
        "image, seconds to ready",
        f"{ready:.1f} s",
        f"BentoML's default {other:.1f} s",
        ready / other,
        "≤ 3 s",
        ready <= 3,
    )


def review(ground: Ground) -> Iterator[Row]:
    """Validate, train, compare and render, where main's run is cached; one seed a side."""
    ml = ground.churn / ".venv/bin/ml"
    with tempfile.TemporaryDirectory(dir=ground.folder) as temporary:
        project = Path(temporary) / "project"
        run("git", "clone", "--quiet", str(ground.churn), str(project))
        source, params = {"PYTHONPATH": f"{project / 'src'}:{project / 'packages/mlcicd/src'}"}, project / "params.yaml"
        for old, new in (("seeds: 3", "seeds: 1"), ("max_iter: 150", "max_iter: 200")):
            text = params.read_text(encoding="utf-8")
            if old not in text:
                raise FailedError(f"params.yaml of the example has no '{old}' any more")
            params.write_text(text.replace(old, new), encoding="utf-8")
            run("git", "commit", "--quiet", "--all", "--message", new, where=project)
            if new == "seeds: 1":
                run(ml, "train", "--out", "runs/baseline", where=project, **source)
        alone = seconds(ml, "train", where=project, **source)
        job = seconds(ml, "review", "--base", "HEAD~1", "--baseline", "runs/baseline", where=project, **source)
    peer = f"`ml train` alone {alone:.1f} s"
    yield Row("review, baseline cached, one seed", f"{job:.1f} s", peer, job / alone, "≤ 1.5 ×", job <= 1.5 * alone)


def verdict(ground: Ground) -> Iterator[Row]:
    """A short run of verdicts.py, which says how the worlds are made; docs/verdicts.md has the long one."""
    python, pools = ground.churn / ".venv/bin/python", ground.folder / "pools"
    pools.mkdir(exist_ok=True)
    worlds = "boosted trees, 15 % negatives", "random forest, 50 % negatives"

    def measured(world: str) -> dict[str, list[list[str]]]:  # the worlds share nothing: one core each
        options = "--sets", SETS, "--size", SIZE, "--pools", str(pools), "--world", world
        return {
            part: cells(run(python, HERE / "verdicts.py", part, *options, where=ground.churn))
            for part in ("null", "methods", "power")
        }

    with ThreadPoolExecutor() as threads:
        found = dict(zip(worlds, threads.map(measured, worlds), strict=True))

    def percent(rows: list[list[str]], name: str, column: int) -> float:
        return next(float(row[column].removesuffix(" %")) for row in rows if row[0].startswith(name))

    for world, parts in found.items():
        name = world.partition(",")[0]
        worse = percent(parts["null"], f"**{world}, 3", 2)
        yield Row(f"verdict, nothing changed, {name}: called worse", f"{worse:.1f} %", "", None, "≤ 5 %", worse <= 5)
        methods = ("influence + folds + seeds", "bootstrap of rows, 1")
        ours, theirs = (percent(parts["methods"], method, 1) for method in methods)
        peer, ratio = f"bootstrap over rows {theirs:.1f} %", ours / theirs if theirs else None
        yield Row(f"verdict, another seed, {name}: ROC AUC called different", f"{ours:.1f} %", peer, ratio, "about 5 %")
        power = percent(parts["power"], "0.0200", 2)
        what = f"verdict, ROC AUC 0.02 lower, {name}: called worse"
        yield Row(what, f"{power:.1f} %", "", None, "≥ 90 %", power >= 90)


PARTS: dict[str, Callable[[Ground], Iterator[Row]]] = {
    "bake": bake,
    "help": helps,
    "train": train,
    "track": track,
    "validate": validate,
    "service": serve,
    "image": image,
    "review": review,
    "verdict": verdict,
}
