"""What a Dask worker does with one piece of work; whatever goes wrong there comes back as one line."""

from __future__ import annotations

import functools
import os
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from mlcicd.compute import shipping
from mlcicd.core import project
from mlcicd.core.errors import InputError

READING = threading.Lock()
_read: dict[str, Any] = {}  # the shared part of the latest work, by its hash


class Order(NamedTuple):
    """What all pieces of one work have in common.

    Attributes
    ----------
    key : the hash of the shared part, which a worker reads once
    needs : the versions of the process that ordered it
    package, folder : the user's package, for messages
    traced : whether whole tracebacks are asked for
    """

    key: str
    needs: shipping.Versions
    package: str
    folder: str
    traced: bool


class Reply(NamedTuple):
    """A packed result, or what went wrong."""

    worker: str
    result: bytes = b""
    problem: str = ""
    traceback: str = ""


def work(shared: bytes, item: bytes, order: Order) -> Reply:
    """Do one piece of work in a worker's process."""
    from distributed import get_worker

    worker = get_worker().address
    if other := shipping.difference(shipping.versions(), order.needs):
        return Reply(worker, problem=f"it {other}; {shipping.REMEDY}")
    project.tell(order.package, Path(order.folder))
    try:
        with READING:
            if order.key not in _read:
                _read.clear()
                _read[order.key] = shipping.unpack(shared)
            function, common = _read[order.key]
        with _limited(int(os.environ.get("OMP_NUM_THREADS", "1"))):
            return Reply(worker, shipping.pack(function(common, shipping.unpack(item))))
    except Exception as error:
        return Reply(worker, problem=_told(error), traceback=traceback.format_exc() if order.traced else "")


def _told(error: Exception) -> str:
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        return f"it has no module {error.name!r}; {shipping.REMEDY}"
    return project.unexpected(error)


@contextmanager
def _limited(threads: int) -> Iterator[None]:
    """Hold a task to its threads, also one whose estimator asks for every core by ``n_jobs``."""
    import joblib
    import pyarrow

    pyarrow.set_cpu_count(threads)  # those that decode Parquet
    alone = joblib.parallel_config("sequential") if threads == 1 else nullcontext()
    with _threads().limit(limits=threads), alone:
        yield


@functools.cache
def _threads() -> Any:
    """Return what limits the threads of each task: a worker runs as many tasks as it has cores."""
    import sklearn.ensemble  # noqa: F401 - so that its OpenMP is loaded, which is to be limited
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
