"""Independent work on this machine and on real Dask clusters: the same results, and one line for each fault."""

from __future__ import annotations

import importlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import PACKAGE, WORK
from mlcicd.compute import dask_cluster, places, shipping
from mlcicd.compute.this_machine import ThisMachine
from mlcicd.core import params, project
from mlcicd.core.errors import InputError
from mlcicd.training import fitting
from mlcicd.training.fitting import Fit, Rows
from sklearn.ensemble import RandomForestClassifier

HERE = Path(__file__).parent
SETTINGS = params.Params(seed=7, task="binary")
Work = Callable[[Any, Any], Any]


def rows() -> Rows:
    """A table with two columns, one of them text."""
    rng = np.random.default_rng(7)
    number = rng.normal(size=600)
    table = pd.DataFrame({"number": number, "kind": rng.choice(["a", "b"], 600)})
    return Rows(table, (number + rng.normal(size=600) > 0).astype(int), "binary", 2)


def planned(count: int = 6) -> list[Fit]:
    """Fits of the template's own pipeline, the last one kept."""
    halves = np.arange(300), np.arange(300, 600)
    return [
        Fit(f"fold {seed}", f"fold {seed}", fitting.build(SETTINGS, seed), *halves, seed == count)
        for seed in range(1, count + 1)
    ]


def fits_on(place: places.Place) -> bytes:
    """Everything that the fits answer there."""
    found = list(place.run(fitting.predictions, rows(), planned(), lambda work: work.name))
    assert [model is None for _, model in found] == [True] * 5 + [False]
    inputs = rows().inputs
    return b"".join([*(scores.tobytes() for scores, _ in found), found[-1][1].predict_proba(inputs).tobytes()])


def done_on(place: places.Place, work: Work, items: list[Any], shared: Any = None) -> list[Any]:
    """What a function makes of items there."""
    return list(place.run(work, shared, items, lambda item: f"part {item}"))


def squared(shared: int, item: int) -> int:
    """Later items are ready before earlier ones."""
    time.sleep(0.02 * (item % 3))
    return shared + item * item


def kill_once(marker: str, item: int) -> int:
    """End the process that works on item 3, the first time that it does."""
    time.sleep(0.05)
    if item == 3 and not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def wait_for(flag: str, item: int) -> int:
    """Say that the work has begun, and take long."""
    Path(flag).touch()
    time.sleep(0.5)
    return item


def touch(folder: Path, item: int) -> None:
    """Leave a trace."""
    time.sleep(0.2)
    (folder / str(item)).touch()


def fill_memory(_: None, item: int) -> int:
    """Take a gigabyte, slowly enough to be watched."""
    held = [np.ones(25_000_000) for _ in range(5) if time.sleep(0.2) is None]
    return len(held) + item


def raise_at_two(_: None, item: int) -> int:
    """Fail on one item."""
    if item == 2:
        raise ValueError("no such kind: x")
    return item


def load_absent(_: None, item: int) -> int:
    """Import a module that a worker does not have."""
    import shop.absent  # noqa: F401

    return item


@contextmanager
def started(*command: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A process without the user's package, that is gone afterwards."""
    bare = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "ML_PACKAGE")}
    process = subprocess.Popen(
        [sys.executable, *command], cwd=HERE, env=bare | environment, stderr=subprocess.PIPE, encoding="utf-8"
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def scheduler() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A scheduler on loopback and its address."""
    options = ("--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0")
    with started("-m", "distributed.cli.dask_scheduler", *options) as process:
        assert process.stderr
        for line in process.stderr:
            if found := re.search(r"Scheduler at:\s+(tcp://127\.0\.0\.1:\d+)", line):
                yield process, found[1]
                return
    raise AssertionError("no scheduler")


def refused(address: str, said: str) -> None:
    """Nothing is sent to this cluster."""
    with pytest.raises(InputError, match=said), places.opened(params.Compute(scheduler=address), print):
        pass


@pytest.fixture(scope="module")
def expected() -> bytes:
    return fits_on(ThisMachine(print, cores=1))


@pytest.fixture(scope="module")
def local() -> Iterator[places.Place]:
    with places.opened(params.Compute(scheduler="local", workers=2), print) as place:
        yield place


def test_a_cluster_of_this_machine_gives_the_same_bytes(local: places.Place, expected: bytes) -> None:
    assert local.workers == 2
    assert fits_on(local) == expected


def test_results_come_in_the_order_of_the_items(local: places.Place) -> None:
    assert done_on(local, squared, list(range(40)), 5) == [5 + n * n for n in range(40)]


def test_processes_of_this_machine_give_the_same_bytes(expected: bytes) -> None:
    told: list[str] = []
    assert fits_on(ThisMachine(told.append, cores=2, worth=0)) == expected
    assert "5 more, 2 at a time" in told


def test_a_forest_on_every_core_answers_the_same_everywhere(local: places.Place) -> None:
    forest = RandomForestClassifier(30, max_leaf_nodes=60, n_jobs=-1, random_state=7)
    numbers = rows()._replace(inputs=rows().inputs[["number"]])
    work = [Fit(f"forest {n}", "the rows", forest, np.arange(400), np.arange(600)) for n in range(4)]
    answers = {
        scores.tobytes()
        for place in (ThisMachine(print, cores=1), ThisMachine(print, cores=2, worth=0), local)
        for scores, _ in place.run(fitting.predictions, numbers, work, lambda one: one.name)
    }
    assert len(answers) == 1


def test_short_work_stays_in_this_process() -> None:
    place = ThisMachine(print, cores=2)
    assert set(done_on(place, lambda *_: os.getpid(), [1, 2, 3])) == {os.getpid()}


@pytest.fixture
def owned() -> Iterator[Callable[[str], Any]]:
    """Import a module of the user's package that answers what is asked, and change its file afterwards."""

    def load(answer: str) -> Any:
        path = WORK / "src" / PACKAGE / "extra.py"
        path.write_text(
            f"import threading\n\n\nclass Extra:\n    def answer(self):\n        return {answer}\n", encoding="utf-8"
        )
        sys.modules.pop(f"{PACKAGE}.extra", None)
        importlib.invalidate_caches()
        module = importlib.import_module(f"{PACKAGE}.extra")
        path.write_text("raise ImportError('changed meanwhile')\n", encoding="utf-8")
        return module

    yield load
    (WORK / "src" / PACKAGE / "extra.py").unlink()


def ask(_: None, extra: Any) -> Any:
    """Run the user's code."""
    return extra.answer(), os.getpid()


def test_processes_run_the_code_that_was_there_when_the_command_began(owned: Callable[[str], Any]) -> None:
    extra = owned("7").Extra()
    answers = done_on(ThisMachine(print, cores=2, worth=0), ask, [extra] * 3)
    assert [answer for answer, _ in answers] == [7, 7, 7]
    assert answers[1][1] != os.getpid()


def test_what_cannot_be_sent_runs_here(owned: Callable[[str], Any]) -> None:
    extra = owned("LOCK.locked()")
    extra.LOCK = threading.Lock()
    answers = done_on(ThisMachine(print, cores=2, worth=0), ask, [extra.Extra()] * 3)
    assert answers == [(False, os.getpid())] * 3


def test_what_is_left_is_dropped_where_the_results_are_closed(local: places.Place, tmp_path: Path) -> None:
    results = local.run(touch, tmp_path, list(range(40)), str)
    next(results)
    results.close()
    assert len(list(tmp_path.iterdir())) < 20


def test_work_goes_on_here_where_a_process_ends(tmp_path: Path) -> None:
    marker = tmp_path / "killed"
    assert done_on(ThisMachine(print, cores=2, worth=0), kill_once, [1, 2, 3, 4, 5], str(marker)) == [1, 2, 3, 4, 5]
    assert marker.exists()


def test_a_worker_that_is_killed_costs_nothing_but_time(local: places.Place, tmp_path: Path) -> None:
    marker = tmp_path / "killed"
    assert done_on(local, kill_once, list(range(8)), str(marker)) == list(range(8))
    assert marker.exists()


def test_an_error_on_one_item_names_item_and_worker(local: places.Place) -> None:
    with pytest.raises(
        InputError, match=r"^part 2: .*ValueError: no such kind: x .*\(worker tcp://127\.0\.0\.1:\d+\)$"
    ):
        done_on(local, raise_at_two, [1, 2, 3])


def test_what_cannot_be_fitted_is_said_as_on_this_machine(local: places.Place) -> None:
    empty = rows()._replace(inputs=rows().inputs.assign(number=np.nan, kind=None))
    said = []
    for place in (ThisMachine(print), local):
        with pytest.raises(InputError) as raised:
            list(place.run(fitting.predictions, empty, planned(2), lambda work: work.name))
        said.append(str(raised.value))
    assert said[1].startswith(said[0])


def test_a_module_that_a_worker_lacks_is_named(local: places.Place) -> None:
    with pytest.raises(InputError, match=r"part 1: it has no module 'shop.absent'; install there .* \(worker tcp://"):
        done_on(local, load_absent, [1])


@pytest.mark.slow
def test_work_that_fills_a_workers_memory_is_named() -> None:
    import dask.config

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        places.opened(params.Compute(scheduler="local", workers=1, memory="700MB"), print) as place,
        pytest.raises(InputError, match=r"part 1: 1 workers? ended .* tcp://127.* memory is short; give workers more"),
    ):
        done_on(place, fill_memory, [1])


@pytest.mark.slow
def test_workers_without_the_projects_code_get_it_and_a_lost_scheduler_is_named(
    expected: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    flag = tmp_path / "begun"
    with scheduler() as (process, address), started("dask_worker.py", address):
        monkeypatch.setenv(places.VARIABLE, address)
        with places.opened(None, print) as place:
            assert fits_on(place) == expected
            results = place.run(wait_for, str(flag), list(range(20)), str)
            next(results)
            process.kill()
            with pytest.raises(InputError, match=rf"the Dask scheduler {address} was lost"):
                list(results)


@pytest.mark.parametrize(
    ("lacks", "said"),
    [
        (("without", "mlcicd"), "has no mlcicd"),
        (("version", "scikit_learn", "1.0.1"), r"has scikit-learn 1\.0\.1, and this project runs with"),
    ],
    ids=["the machinery", "a library"],
)
def test_a_worker_of_another_kind_is_refused(lacks: tuple[str, ...], said: str, tmp_path: Path) -> None:
    more = (str(tmp_path),) if lacks[0] == "version" else ()
    with scheduler() as (_, address), started("dask_worker.py", address, *lacks, *more):
        refused(address, rf"^worker tcp://127\.0\.0\.1:\d+: {said}.*install there")


def test_without_a_scheduler_or_workers_nothing_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    import dask.config

    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        refused("tcp://127.0.0.1:9", r"tcp://127\.0\.0\.1:9 does not answer .* start it")
    monkeypatch.setattr(dask_cluster, "WAIT", 0.5)
    with scheduler() as (_, address):
        refused(address, rf"{address} has no workers")


def test_without_dask_it_is_named_and_nothing_loads_it() -> None:
    code = (
        "import sys\n"
        "sys.modules |= dict.fromkeys(['dask', 'distributed'])\n"
        "from mlcicd import cli\n"
        "from mlcicd.compute import places\n"
        "from mlcicd.core import params\n"
        "from mlcicd.review import review\n"
        "from mlcicd.training import train\n"
        "with places.opened(None, print) as place:\n"
        "    print(list(place.run(lambda a, b: a + b, 1, [1, 2], str)))\n"
        "try:\n"
        "    with places.opened(params.Compute(scheduler='local'), print): pass\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8")
    assert done.stdout.splitlines()[-2] == "[2, 3]", done.stderr
    assert done.stdout.splitlines()[-1] == f"InputError compute: Dask is not installed here; {dask_cluster.INSTALL}"


@pytest.mark.parametrize(
    ("told", "chosen"),
    [
        ("", "tcp://a:1"),
        ("none", None),
        ("local", "local"),
        ("tls://b:2", "tls://b:2"),
        ("tcp://a:1", "tcp://a:1"),
    ],
)
def test_the_environment_wins(told: str, chosen: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(places.VARIABLE, told)
    found = places.chosen(params.Compute(scheduler="tcp://a:1"))
    assert (found and found.scheduler) == chosen


@pytest.mark.parametrize(
    "wrong",
    [{}, {"scheduler": "10.0.0.5"}, {"scheduler": "tcp://a:1", "workers": 2}, {"scheduler": "local", "memory": "4"}],
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"scheduler|memory"):
        params.Compute.model_validate(wrong)


def test_an_address_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(places.VARIABLE, "10.0.0.5")
    with pytest.raises(InputError, match=r"DASK_SCHEDULER_ADDRESS: '10\.0\.0\.5' is no address such as tcp://"):
        places.chosen(None)


def test_what_cannot_be_sent_is_named() -> None:
    with pytest.raises(InputError, match=r"cannot be sent to other processes .*locks"):
        shipping.pack(threading.Lock())


def test_code_that_was_sent_is_the_projects_own_again() -> None:
    model = project.module("features").make_features()
    assert type(shipping.unpack(shipping.pack(model))) is type(model)
    assert (project.package_name(), project.folder()) == (PACKAGE, WORK / "src" / PACKAGE)
