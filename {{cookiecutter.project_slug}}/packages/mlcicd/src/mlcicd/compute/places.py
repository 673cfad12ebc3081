"""Choose where independent work runs: ``compute`` in params.yaml, or DASK_SCHEDULER_ADDRESS, which wins."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TypeVar

from mlcicd.compute.this_machine import ThisMachine
from mlcicd.core.errors import InputError
from mlcicd.core.params import LOCAL, SCHEDULER, Compute

VARIABLE = "DASK_SCHEDULER_ADDRESS"  # also Dask's own name for it
HERE = "none"  # its value where a command must run on this machine, whatever params.yaml says
Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")


class Place(Protocol):
    """Where independent work runs.

    Attributes
    ----------
    workers : how many items are worked on at a time
    """

    workers: int

    def run(
        self,
        function: Callable[[Shared, Item], Result],
        shared: Shared,
        items: Sequence[Item],
        name: Callable[[Item], str],
        jobs: int | None = None,
    ) -> Generator[Result, None, None]:
        """Yield ``function(shared, item)`` of each item, in the order of the items.

        The function and what it is given must not depend on where and in which order they run. Closing the iterator
        drops what is not done yet.

        Parameters
        ----------
        function : defined at the top of a module of the machinery
        shared : what all items need, such as the table; sent once to each worker
        name : what an item is called in messages
        jobs : how many threads of this machine work at a time; a cluster decides by itself

        Raises
        ------
        InputError
            The function raised it, or a worker cannot do the work; the message names the item.
        """
        ...


def chosen(settings: Compute | None) -> Compute | None:
    """Return where work runs: what the environment says, else what params.yaml says; None is this machine.

    Raises
    ------
    InputError
        The environment says something else than an address.
    """
    told = os.environ.get(VARIABLE, "").strip()
    if not told:
        return settings
    if told == HERE:
        return None
    if told != LOCAL and not SCHEDULER.fullmatch(told):
        raise InputError(f"{VARIABLE}: {told!r} is no address such as tcp://10.0.0.5:8786, nor {LOCAL}, nor {HERE}")
    if settings is not None and settings.scheduler == told:
        return settings
    return Compute(scheduler=told)


@contextmanager
def opened(settings: Compute | None, say: Callable[[str], None], items: int | None = None) -> Iterator[Place]:
    """Open the place where work runs, and close it at the end of the block.

    Parameters
    ----------
    items : how many there will be, where that is known; one alone, or none, needs no cluster

    Raises
    ------
    InputError
        The cluster cannot be reached or has no workers, or Dask is not installed.
    """
    where = None if items is not None and items < 2 else chosen(settings)
    if where is None:
        yield ThisMachine(say)
        return
    from mlcicd.compute import dask_cluster

    cluster: AbstractContextManager[Place] = dask_cluster.opened(where, say)
    with cluster as place:
        yield place
