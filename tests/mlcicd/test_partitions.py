"""Tables in parts, on this machine and on real Dask clusters: the same findings and files, whatever happens."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlcicd import cli
from mlcicd.compute import places
from mlcicd.compute.this_machine import ThisMachine
from mlcicd.contract import document as contracts
from mlcicd.core import params
from mlcicd.core.errors import InputError
from mlcicd.data import readers
from mlcicd.partitions import validation
from mlcicd.scoring import parts
from mlcicd.scoring.scorer import Scorer
from mlcicd.system import signals
from mlcicd.validation import rules

Opened = Callable[[int], AbstractContextManager[places.Place]]
PARTS, ROWS = 6, 40  # in a folder, and in each of its parts


def role(name: str) -> list[dict[str, str]]:
    """The part that a column plays."""
    return [{"property": "role", "value": name}]


DOCUMENT = {
    **{"apiVersion": "v3.2.0", "kind": "DataContract", "id": "t", "version": "1.0.0", "status": "draft"},
    "schema": [
        {
            "name": "customers",
            "quality": [{"metric": "duplicateValues", "mustBe": 0}],
            "properties": [
                {"name": "key", "logicalType": "integer", "primaryKey": True, "customProperties": role("id")},
                {"name": "a", "logicalType": "number", "logicalTypeOptions": {"maximum": 100}},
                {"name": "b", "logicalType": "string", "enum": [{"value": "x"}, {"value": "y"}]},
                {"name": "y", "logicalType": "integer", "required": True, "customProperties": role("target")},
            ],
        }
    ],
}
CUSTOMERS = contracts.parse(DOCUMENT).table


def here(_: int) -> AbstractContextManager[places.Place]:
    """This machine, one part after the other."""
    return nullcontext(ThisMachine(lambda _: None, cores=1))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Opened]:
    """Two workers, which stay for all tests."""
    with places.opened(params.Compute(scheduler="local", workers=2), print) as place:
        yield lambda _: nullcontext(place)


def table() -> pd.DataFrame:
    """Rows with one repeated key, a missing value, and one number that is too large."""
    count = PARTS * ROWS
    frame = pd.DataFrame({"key": range(count), "a": [n % 90 + 0.5 for n in range(count)], "b": "x", "y": 1})
    frame.loc[[5, 130, 231], "b"] = ["z", None, "z"]
    frame.loc[222, ["a", "key"]] = [100.5, 7]
    return frame


def written(folder: Path, frame: pd.DataFrame) -> Path:
    """The rows in parts of a folder."""
    folder.mkdir()
    for number in range(PARTS):
        frame.iloc[number * ROWS : (number + 1) * ROWS].to_parquet(folder / f"part-{number}.parquet", index=False)
    return folder


def test_a_cluster_finds_what_this_machine_finds_in_the_whole(cluster: Opened, tmp_path: Path) -> None:
    folder, frame = written(tmp_path / "t", table()), table()
    found, rows = validation.check(folder, CUSTOMERS, cluster)
    assert rows == len(frame)
    assert found == rules.check(readers.read(folder, CUSTOMERS)[0], CUSTOMERS)
    assert [str(v) for v in found] == [
        "customers.key: unique: 2 rows; first 8, 223, for example 7",
        "customers.a: maximum 100: row 223, for example 100.5",
        "customers.b: enum: 2 rows; first 6, 232, for example 'z'",
    ]
    assert found == validation.check(folder, CUSTOMERS, here)[0]


def test_integers_that_would_be_rounded_are_found_in_any_part(tmp_path: Path) -> None:
    obj = CUSTOMERS.model_copy(update={"properties": [p for p in CUSTOMERS.properties if p.name in ("key", "y")]})
    frame = table()[["key", "y"]]
    frame["key"] = frame["key"].astype("uint64")
    frame.loc[[100, 150], "key"] = [2**63, 2**63 + 1]
    folder = written(tmp_path / "t", frame)
    found, _ = validation.check(folder, obj, here)
    frame, mistyped = readers.read(folder, obj)
    assert found == rules.check(frame, obj, mistyped)
    assert "beyond 2**63" in found[0].rule


def test_a_part_that_cannot_be_read_is_named(cluster: Opened, tmp_path: Path) -> None:
    folder = written(tmp_path / "t", table())
    content = bytearray((folder / "part-3.parquet").read_bytes())
    content[4:200] = bytes(196)
    (folder / "part-3.parquet").write_bytes(content)
    for opened in (here, cluster):
        with pytest.raises(InputError, match=r"part-3\.parquet: cannot be read"):
            validation.check(folder, CUSTOMERS, opened)


def test_a_worker_that_does_not_see_the_table_is_named(cluster: Opened, tmp_path: Path) -> None:
    folder = written(tmp_path / "t", table())
    whole = validation.pieces.divide

    def gone(files: Any, rows: int) -> Any:
        divided = whole(files, rows)
        (folder / "part-2.parquet").unlink()
        return divided

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation.pieces, "divide", gone)
        with pytest.raises(InputError, match=r"part-2\.parquet: is not there; put the table where .* \(worker tcp://"):
            validation.check(folder, CUSTOMERS, cluster)


# ---- scoring -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that was trained, and a folder of Parquet parts to score, one of them without rows."""
    root = tmp_path_factory.mktemp("begun")
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"key": range(300), "a": rng.normal(size=300), "b": rng.choice(["x", "y"], 300)})
    frame.assign(y=np.where(frame["a"] + rng.normal(size=300) > 0, "yes", "no")).to_parquet(root / "t.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("LOKY_MAX_CPU_COUNT", "1")  # no processes, however busy the machine is
        assert ml("init", "t.parquet", "--target", "y", "--id", "key")[0] == 0
        with Path("params.yaml").open("a", encoding="utf-8") as file:
            file.write("review: {seeds: 1}\n")
        assert ml("train")[0] == 0
    (root / "new").mkdir()
    for number in range(PARTS):
        frame.iloc[number * 50 : (number + 1) * 50].to_parquet(root / "new" / f"part-{number}.parquet", index=False)
    frame.iloc[:0].to_parquet(root / "new" / "part-2a.parquet", index=False)
    return root


@pytest.fixture
def project_folder(begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "project"
    shutil.copytree(begun, root)
    monkeypatch.chdir(root)
    return root


def ml(*command: str) -> tuple[int, str]:
    """Run a command in this process; return its exit status and what it wrote."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stderr(said), redirect_stdout(said):
        patch.setattr(sys, "argv", ["ml", *command])
        patch.setattr(signals, "install", lambda: None)  # the signals of this process are pytest's
        with pytest.raises(SystemExit) as end:
            cli.main()
    return int(end.value.code or 0), said.getvalue()


def predict(opened: Opened, out: str = "p") -> tuple[int, int, int]:
    """Score the parts of the folder."""
    return parts.predict(Path("new"), Path(out), Path("runs/model"), opened)


def content(folder: Path) -> dict[str, bytes]:
    """The files of an output."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def spoil(file: Path) -> None:
    """Replace a file by what cannot be read, with its size and time."""
    status = file.stat()
    file.write_bytes(bytes(status.st_size))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_parts_hold_the_predictions_of_the_whole_in_its_order(cluster: Opened, project_folder: Path) -> None:
    assert ml("predict", "new", "--out", "whole.parquet")[0] == 0
    assert ml("predict", "new", "--out", "p") == (0, "300 rows in 7 parts scored: p\n")
    assert sorted(path.name for path in Path("p").iterdir()) == [
        *(".ml-output.json", "_manifest.json"),
        *(f"part-{number}.parquet" for number in range(PARTS)),
    ]
    pd.testing.assert_frame_equal(pd.read_parquet("p"), pd.read_parquet("whole.parquet"))
    manifest = json.loads(Path("p/_manifest.json").read_text(encoding="utf-8"))
    assert [part["rows"] for part in manifest["parts"]] == [50, 50, 50, 0, 50, 50, 50]
    assert predict(cluster, "q") == (300, 7, 0)
    assert content(project_folder / "q") == content(project_folder / "p")


@pytest.mark.usefixtures("project_folder")
def test_what_is_done_is_not_read_again() -> None:
    assert predict(here) == (300, 7, 0)
    first = content(Path("p"))
    spoil(Path("new/part-1.parquet"))
    os.utime("new/part-0.parquet")  # another time, the same bytes: read, and not scored
    shutil.copy("new/part-5.parquet", "new/part-6.parquet")
    assert predict(here) == (350, 8, 7)
    second = content(Path("p"))
    assert second.pop("part-6.parquet") == second["part-5.parquet"]
    assert sorted(name for name in first if first[name] != second[name]) == [".ml-output.json", "_manifest.json"]
    Path("p/part-4.parquet").write_bytes(b"broken")
    Path("new/part-6.parquet").unlink()
    assert predict(here) == (300, 7, 6)
    assert content(Path("p")).keys() == first.keys()
    assert (Path("p/part-4.parquet")).read_bytes() == first["part-4.parquet"]
    Path("runs/model/metrics.json").write_bytes(Path("runs/model/metrics.json").read_bytes() + b"\n")
    with pytest.raises(InputError, match="part-1"):  # another model scores all parts, also the spoilt one
        predict(here)


@pytest.mark.parametrize("address", ["none", "local"])
def test_a_kill_at_half_leaves_what_is_done(project_folder: Path, address: str) -> None:
    assert predict(here, "q") == (300, 7, 0)
    slow = (
        "import sys, time\n"
        "from mlcicd import cli\n"
        "from mlcicd.scoring import scorer\n"
        "score = scorer.Scorer.score\n"
        "def late(self, frame):\n"
        "    time.sleep(0.5 if frame['a'].iloc[0] < 9 else 0)\n"
        "    return score(self, frame)\n"
        "scorer.Scorer.score = late\n"
        "sys.argv = ['ml', 'predict', 'new', '--out', 'p']\n"
        "cli.main()\n"
    )
    environment = os.environ | {"DASK_SCHEDULER_ADDRESS": address}
    process = subprocess.Popen([sys.executable, "-c", slow], env=environment, start_new_session=True)
    records = project_folder / ".p.ml-parts" / "_records"
    while not (records.is_dir() and len(list(records.glob("*.json"))) >= 3):
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not Path("p").exists()
    done = [path.stem for path in records.glob("*.json")]
    kept = {name: (project_folder / "new" / name).read_bytes() for name in done}
    for name in done:
        spoil(project_folder / "new" / name)
    assert predict(here) == (300, 7, len(done))
    assert 3 <= len(done) < 7
    for name, old in kept.items():
        time_of = (project_folder / "new" / name).stat().st_mtime_ns
        (project_folder / "new" / name).write_bytes(old)
        os.utime(project_folder / "new" / name, ns=(time_of, time_of))
    assert content(Path("p")) == content(Path("q"))


@pytest.mark.usefixtures("project_folder")
def test_rows_that_break_the_contract_are_named_with_their_part() -> None:
    frame = pd.read_parquet("new/part-4.parquet")
    for broken, said in (
        (frame.drop(columns="a"), r"a: required: 50 rows; first 1, 2, 3, 4, 5"),  # which other parts have
        (frame.assign(a="many"), r"a: logicalType number: 50 rows; first 1, 2, 3, 4, 5, for example 'many'"),
    ):
        broken.to_parquet("new/part-4.parquet", index=False)
        code, told = ml("predict", "new", "--out", "p")
        assert code == 2
        assert re.fullmatch(rf"ml: new/part-4\.parquet, counting from row 1: t\.{said}; see all with .*\n", told), told
        assert not Path("p").exists()
    frame.to_parquet("new/part-4.parquet", index=False)
    assert predict(here) == (300, 7, 5)


@pytest.mark.usefixtures("project_folder")
def test_a_worker_that_does_not_see_the_output_is_named(cluster: Opened) -> None:
    job = parts.Job(Scorer(Path("runs/model")), Path("new"), Path("p"), Path.cwd(), Path("/gone"), (), {})
    with cluster(1) as place, pytest.raises(InputError, match=r"p: is not there; put --out where all workers see it"):
        list(place.run(parts.score_part, job, [Path("new/part-0.parquet")], str))
