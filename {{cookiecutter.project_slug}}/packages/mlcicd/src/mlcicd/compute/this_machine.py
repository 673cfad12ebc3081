"""Run independent work on this machine: one item after the other, or in several processes where that is faster."""

from __future__ import annotations

import functools
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any

from mlcicd.compute import shipping
from mlcicd.core.errors import InputError
from mlcicd.system.scratch import scratch

# Each process imports everything anew, which takes seconds of its core, and two cores halve the rest at best: what is
# shorter than this is nearly done before they begin.
WORTH_PROCESSES = 30.0  # seconds that the remaining items would take here


class ThisMachine:
    """The cores of this machine. Where several processes work, each has one thread, so that they do not compete."""

    def __init__(self, say: Callable[[str], None], cores: int | None = None, worth: float = WORTH_PROCESSES) -> None:
        import joblib

        self.say, self.workers, self.worth = say, cores or joblib.cpu_count(), worth

    def run(
        self,
        function: Callable[[Any, Any], Any],
        shared: Any,
        items: Sequence[Any],
        name: Callable[[Any], str],
        jobs: int | None = None,
    ) -> Generator[Any, None, None]:
        """Yield the result of each item in order; see :class:`places.Place`.

        Items are timed. What is left goes to processes once it would take long enough to be worth their start.
        """
        import joblib

        if jobs is not None and jobs != 1:
            threads = joblib.Parallel(n_jobs=jobs, prefer="threads", return_as="generator")
            yield from _closed_quietly(threads(joblib.delayed(function)(shared, item) for item in items))
            return
        for position, item in enumerate(items):
            self.say(name(item))
            began = time.monotonic()
            result = function(shared, item)
            left = items[position + 1 :]
            left_seconds = (time.monotonic() - began) * len(left)
            yield result
            worth = jobs is None and self.workers > 1 and len(left) > 1 and left_seconds > self.worth
            if worth and _can_be_sent(left[0]):
                yield from self._processes(function, shared, left, name)
                return

    def _processes(
        self, function: Callable[[Any, Any], Any], shared: Any, items: Sequence[Any], name: Callable[[Any], str]
    ) -> Iterator[Any]:
        import joblib

        workers, done = min(self.workers, len(items)), 0
        self.say(f"{len(items)} more, {workers} at a time")
        with scratch("shared") as folder, joblib.parallel_config("loky", inner_max_num_threads=1):
            joblib.dump(shared, folder / "shared")  # once; of a large array all processes map the same memory
            parallel = joblib.Parallel(n_jobs=workers, return_as="generator", pre_dispatch=workers)
            try:
                packed = (shipping.pack(item) for item in items)
                results = parallel(joblib.delayed(_work)(function, folder / "shared", item) for item in packed)
                for result in _closed_quietly(results):
                    self.say(f"{name(items[done])}: done")
                    done += 1
                    yield shipping.unpack(result)
            except BrokenExecutor:
                self.say("a process ended, as when memory is short; the rest runs one by one")
        for item in items[done:]:
            self.say(name(item))
            yield function(shared, item)


def _closed_quietly(results: Generator[Any, None, None]) -> Iterator[Any]:
    """Yield results; where the rest is not wanted any more, joblib would warn that work is dropped, which is meant."""
    try:
        for result in results:  # noqa: UP028 - "yield from" would close them by itself
            yield result
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results.close()


def _can_be_sent(item: Any) -> bool:
    """Whether the user's code can leave this process: not with a lock or an open file in one of its modules."""
    try:
        shipping.pack(item)
    except InputError:
        return False
    return True


def _work(function: Callable[[Any, Any], Any], shared: Path, item: bytes) -> bytes:
    """Work in another process, with the user's code as it was here, not as it lies in its files by then."""
    import joblib

    with joblib.parallel_config("sequential"):  # an estimator may ask for every core by ``n_jobs``
        return shipping.pack(function(_read(shared), shipping.unpack(item)))


@functools.lru_cache(maxsize=1)
def _read(path: Path) -> Any:
    import joblib

    return joblib.load(path, mmap_mode="r")
