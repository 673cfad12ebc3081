"""Each command killed and terminated at twenty moments."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # a pool of threads does not survive a fork

import ctypes
import gc
import importlib
import importlib.util
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import visits
import yaml

for name in (
    *("mlcicd.cli", "mlcicd.training.train", "mlcicd.review.compare", "mlcicd.review.review", "mlcicd.scoring.predict"),
    *("mlcicd.lifecycle.drift_report", "mlcicd.lifecycle.explore", "mlcicd.lifecycle.releases"),
    *("mlcicd.onboarding.init", "mlcicd.partitions.validation"),
):
    # What is imported here is there after each fork; nothing is computed here, so there are no threads.
    importlib.import_module(name)
for name in ("filelock", "matplotlib.backends.backend_agg", "pyarrow.csv", "pyarrow.parquet", "skrub", "tabulate"):
    if importlib.util.find_spec(name.partition(".")[0]):
        importlib.import_module(name)
cli = importlib.import_module("mlcicd.cli")

COMMANDS = {
    "train": ("train", "--out", "out"),
    "compare": ("compare", "runs/model", "runs/model", "--out", "out"),
    "drift": ("drift", "visits.csv", "--out", "out"),
    "explore": ("explore", "--out", "out"),
    "releases": ("releases", "runs", "--out", "out"),
    "predict": ("predict", "visits.csv", "--out", "out.csv"),
    "init": ("init", "visits.csv", "--target", "bought", "--force"),
}
MOMENTS = 20
EVENTS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "open", "ctypes.dlsym"}
VOLATILE = {"manifest.json", "out"}  # with the seconds that a training took, and the names that skrub draws
# What must be one of two whole things: the output, or the three files of `ml init`.
WHOLE = {"init": ("params.yaml", "contract.yaml", "data")}

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small table that was begun with and trained on."""
    root = tmp_path_factory.mktemp("begun")
    visits.write(root, 120)
    os.chdir(root)
    assert ml("init", "visits.csv", "--target", "bought") == 0
    chosen = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    chosen |= {"model": {"max_iter": 3}, "review": {"seeds": 1}, "split": {"folds": 2, "holdout": 0.3}}
    (root / "params.yaml").write_text(yaml.safe_dump(chosen), encoding="utf-8")
    assert ml("train") == 0
    return root


def ml(
    *command: str, moment: int | None = None, number: int = signal.SIGKILL, said: Path | None = None, bare: bool = False
) -> int:
    """Run a command in a process of its own, and send it a signal at a moment: before its so-maniest change of files.

    Parameters
    ----------
    said : a file for what it writes to standard error
    bare : without the capabilities that let root do what permissions forbid

    Returns
    -------
    Its exit status, or minus the signal's number. Without a moment, how many there are is left in ``ml.moments``.
    """
    here, there = os.pipe()
    child = os.fork()
    if child:
        os.close(there)
        counted = os.read(here, 100)
        os.close(here)
        ml.moments = int(counted or b"0")  # type: ignore[attr-defined]
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    seen = 0

    def hook(event: str, _: object) -> None:
        nonlocal seen
        if event in EVENTS:
            seen += 1
            if seen == moment:
                os.kill(os.getpid(), number)

    status = 99
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) if said else 1, 2)
        if bare:
            header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
            assert ctypes.CDLL(None).capset(header, none) == 0
        sys.stdout, sys.stderr = (open(number, "w", buffering=1, encoding="utf-8", closefd=False) for number in (1, 2))  # noqa: SIM115
        sys.argv = ["ml", *command]
        gc.disable()  # no file is closed, and so no event comes, at another moment than the last time
        sys.addaudithook(hook)
        cli.main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0
    finally:
        os.write(there, str(seen).encode())
        os._exit(status)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def content(folder: Path, *parts: str) -> dict[str, bytes]:
    files = [path for part in parts for path in (folder / part, *(folder / part).rglob("*"))]
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in files
        if path.is_file() and ".ml-work" not in str(path)
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_and_terminated_at_twenty_moments(
    begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    root = tmp_path / "project"
    shutil.copytree(begun, root)
    monkeypatch.chdir(root)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    command = COMMANDS[name]
    out = WHOLE.get(name, (command[-1],))
    assert ml(*command) in (0, 1)
    older, beside = content(root, *out), names(root)
    for file in ("visits.csv",) if name == "init" else ("visits.csv", "data/visits.csv"):
        lines = (root / file).read_text(encoding="utf-8").splitlines(keepends=True)
        (root / file).write_text("".join(lines[:-10]), encoding="utf-8")
    if name in ("compare", "releases"):
        assert ml("train") == 0
    undisturbed = root.with_name("undisturbed")
    shutil.copytree(root, undisturbed)
    monkeypatch.chdir(undisturbed)
    assert ml(*command) in (0, 1)
    newer, moments = content(undisturbed, *out), ml.moments  # type: ignore[attr-defined]
    monkeypatch.chdir(root)
    # Files that differ between the two, and are the same at each writing.
    telling = [file for file in older if older[file] != newer[file] and Path(file).name not in VOLATILE]
    assert older.keys() == newer.keys() and (telling or name in ("explore", "releases"))
    ended = set()
    for turn, moment in enumerate(sorted({round(at) for at in np.linspace(1, moments, MOMENTS)})):
        ended.add(ml(*command, moment=moment, number=(signal.SIGKILL, signal.SIGTERM)[turn % 2]))
        if name == "init":
            assert ml("validate") == 0  # the next command, whichever it is, ends what a killed one began
        now = content(root, *out)
        assert now.keys() == older.keys(), moment
        assert now.get("out", b"</html>\n").endswith(b"</html>\n"), moment
        assert [now[file] for file in telling] in ([older[file] for file in telling], [newer[file] for file in telling])
    assert {-signal.SIGKILL, 128 + signal.SIGTERM} <= ended
    assert ml(*command) in (0, 1)
    assert names(root) == beside
    assert not list(root.rglob(".*.ml-*"))
    assert not list(tmp_path.glob("ml-*"))


def forbid(path: str) -> None:
    Path(path).chmod(0o555 if Path(path).is_dir() else 0)


def make_folder(path: str) -> None:
    Path(path).unlink()
    Path(path).mkdir()


def make_file(path: str) -> None:
    shutil.rmtree(path)
    Path(path).write_text("x", encoding="utf-8")


FAULTS = [
    *[(forbid, ".", name) for name in COMMANDS if name != "init"],
    (forbid, ".", "init"),
    *[
        (forbid, path, name)
        for path in ("params.yaml", "contract.yaml", "data/visits.csv")
        for name in ("train", "explore")
    ],
    *[(forbid, f"runs/model/{file}", "predict") for file in ("model.skops", "contract.yaml", "metrics.json")],
    (forbid, "runs/model/manifest.json", "compare"),
    (forbid, "visits.csv", "predict"),
    (forbid, "visits.csv", "init"),
    *[(make_folder, path, "train") for path in ("params.yaml", "contract.yaml", "data/visits.csv")],
    (make_folder, "params.yaml", "init"),
    (make_folder, "runs/model/model.skops", "predict"),
    (make_file, "runs", "compare"),
    (make_file, "runs/model", "drift"),
    (make_file, "data", "train"),
    (make_file, "data", "init"),
]


@pytest.mark.skipif(sys.platform != "linux", reason="capabilities are Linux's")
@pytest.mark.parametrize(("spoil", "path", "name"), FAULTS)
def test_an_ordinary_fault_is_one_clear_line(
    begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[str], None], path: str, name: str
):
    root = tmp_path / "project"
    shutil.copytree(begun, root)
    monkeypatch.chdir(root)
    spoil(path)
    try:
        before = names(root)
        assert ml(*COMMANDS[name], said=tmp_path / "said", bare=os.geteuid() == 0) == 2
        lines = (tmp_path / "said").read_text(encoding="utf-8").splitlines()
        assert len([line for line in lines if not line.startswith("warning: ")]) == 1, lines
        assert lines[-1].startswith("ml: ") and not re.search(r"\.py:\d|Errno|Error\b|Traceback", lines[-1]), lines
        assert path == "." or Path(path).name in lines[-1], lines
        assert names(root) == before
    finally:
        root.chmod(0o755)
