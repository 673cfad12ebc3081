"""Run independent work on a Dask cluster: one that is there already, or processes of this machine."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from mlcicd.compute import dask_task, shipping
from mlcicd.core import project
from mlcicd.core.errors import InputError
from mlcicd.core.params import LOCAL, Compute

LOSSES = 3  # how often work may be sent anew because its data went down with a worker
AHEAD = 4  # pieces of work sent for each thread of the cluster; more would fill memory while one is slow
WAIT = 60.0  # seconds for the first worker of a cluster that starts them when they are needed
INSTALL = "add it with: uv add 'mlcicd[dask]'"


@contextmanager
def opened(settings: Compute, say: Callable[[str], None]) -> Iterator[DaskCluster]:
    """Connect to a cluster, or start one of this machine's processes, and leave it at the end of the block.

    Raises
    ------
    InputError
        Dask is not installed, the scheduler does not answer, or there are no workers or the wrong ones.
    """
    try:
        import distributed
    except ImportError:
        raise InputError(f"compute: Dask is not installed here; {INSTALL}") from None
    # What goes wrong is said in one line by the command.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with ExitStack() as stack:
        address: Any = settings.scheduler
        if address == LOCAL:
            address = stack.enter_context(_local(distributed, settings))
        try:
            client = stack.enter_context(distributed.Client(address, set_as_default=False))
        except (OSError, ValueError, TypeError) as error:
            raise InputError(
                f"compute: the Dask scheduler {settings.scheduler} does not answer ({type(error).__name__}: "
                f"{str(error)[:200]}); start it, correct its address, or take 'compute' out of params.yaml"
            ) from None
        cluster = DaskCluster(client, say)
        cluster.check()
        yield cluster


@contextmanager
def _local(distributed: Any, settings: Compute) -> Iterator[Any]:
    import joblib

    with distributed.LocalCluster(
        n_workers=settings.workers or joblib.cpu_count(),
        threads_per_worker=1,
        memory_limit=settings.memory or "auto",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        silence_logs=logging.CRITICAL,
    ) as cluster:
        yield cluster


class DaskCluster:
    """The workers of a Dask scheduler."""

    def __init__(self, client: Any, say: Callable[[str], None]) -> None:
        self.client, self.say, self.workers = client, say, 1
        self.address = str(client.scheduler.address)

    def check(self) -> None:
        """Wait for workers, and refuse those that would compute something else than this process.

        Raises
        ------
        InputError
            There is no worker, or one has other versions; the line names it.
        """
        with suppress(TimeoutError):
            self.client.wait_for_workers(1, timeout=WAIT)
        threads = self.client.nthreads()
        if not threads:
            raise InputError(f"compute: the Dask scheduler {self.address} has no workers; start some there")
        self.workers = sum(threads.values())
        for worker, theirs in sorted(self.client.run(_question(), on_error="return").items()):
            if not isinstance(theirs, dict):
                raise InputError(f"worker {worker}: cannot work ({type(theirs).__name__}: {theirs}); start it anew")
            if other := shipping.difference(theirs, shipping.versions()):
                raise InputError(f"worker {worker}: {other}; {shipping.REMEDY}")
        self.say(f"Dask: {len(threads)} workers, {self.workers} threads; dashboard {self.client.dashboard_link}")

    def run(
        self,
        function: Callable[[Any, Any], Any],
        shared: Any,
        items: Sequence[Any],
        name: Callable[[Any], str],
        jobs: int | None = None,  # noqa: ARG002 - threads of this machine
    ) -> Generator[Any, None, None]:
        """Yield the result of each item in order; see :class:`places.Place`."""
        from distributed import as_completed

        content = shipping.pack((function, shared))
        order = dask_task.Order(
            hashlib.sha256(content).hexdigest(),
            shipping.versions(),
            project.package_name(),
            str(project.folder()),
            bool(os.environ.get("ML_TRACEBACK")),
        )
        pending, ready = list(range(len(items)))[::-1], dict[int, Any]()
        running: dict[Any, int] = {}
        losses, due, done = 0, 0, 0
        held = self._scatter(content)
        finished = as_completed(loop=self.client.loop)
        try:
            while due < len(items):
                while pending and len(running) + len(ready) < AHEAD * self.workers:
                    position = pending.pop()
                    future = self._submit(held, items[position], order)
                    running[future] = position
                    finished.add(future)
                future = next(finished)
                position = running.pop(future)
                if future.status == "cancelled":
                    losses += 1
                    self._lost(name(items[position]), losses)
                    held = self._scatter(content)
                    pending.append(position)
                    continue
                try:
                    ready[position] = self._result(future, name(items[position]))
                except InputError as error:  # said when its turn comes: the first one, as where items run in order
                    ready[position] = error
                done += 1
                self.say(f"{name(items[position])}: done ({done} of {len(items)})")
                while due in ready:
                    result = ready.pop(due)
                    if isinstance(result, InputError):
                        raise result
                    yield result
                    due += 1
        finally:
            if self.client.status == "running":
                self.client.cancel([*running], force=True)

    def _scatter(self, content: bytes) -> Any:
        try:
            return self.client.scatter(content, broadcast=True, hash=False)
        except (OSError, TimeoutError) as error:
            raise self._gone(error) from None

    def _submit(self, held: Any, item: Any, order: dask_task.Order) -> Any:
        return self.client.submit(dask_task.work, held, shipping.pack(item), order, pure=False)

    def _result(self, future: Any, name: str) -> Any:
        from distributed import KilledWorker

        try:
            reply = future.result()
        except KilledWorker as error:
            limit = self.client.scheduler_info()["workers"].get(error.last_worker.address, {}).get("memory_limit")
            raise InputError(
                f"{name}: {error.allowed_failures + 1} workers ended while they worked on it, the last one "
                f"{error.last_worker.address}, as they do when memory is short; give workers more memory"
                f"{f' than {limit / 1e9:.3g} GB' if limit else ''}, or fewer threads each"
            ) from None
        except ModuleNotFoundError as error:
            raise InputError(f"{name}: a worker has no module {error.name!r}; {shipping.REMEDY}") from None
        except Exception as error:
            raise InputError(f"{name}: a worker cannot do this ({type(error).__name__}: {str(error)[:200]})") from error
        if reply.problem:
            print(reply.traceback, file=sys.stderr, end="")
            raise InputError(f"{_after(name, reply.problem)} (worker {reply.worker})")
        return shipping.unpack(reply.result)

    def _lost(self, name: str, losses: int) -> None:
        """Say what was lost; go on if it was data that went down with a worker, and that not too often."""
        if self.client.status != "running":
            raise self._gone()
        if losses > LOSSES:
            raise InputError(f"{name}: the workers that held its data ended {losses} times; look at their logs")
        self.say(f"{name}: its worker ended, and it is sent anew")

    def _gone(self, error: Exception | None = None) -> InputError:
        more = f" ({type(error).__name__})" if error else ""
        return InputError(
            f"compute: the Dask scheduler {self.address} was lost{more}; the output is as it was; start both again"
        )


def _after(name: str, problem: str) -> str:
    return problem if problem.startswith(name) else f"{name}: {problem}"


def _question() -> Callable[[], shipping.Versions]:
    """Return a function that also a worker without the machinery can answer: it is sent as a whole."""
    content, names = shipping.by_value(shipping.look_up), shipping.COMPARED

    def ask() -> shipping.Versions:
        import pickle

        found: dict[str, str | None] = pickle.loads(content)(names)  # noqa: S301 - of the process that asks
        return found

    return ask
