"""A queue that never makes the one who fills it wait: what is beyond its bounds is refused."""

from __future__ import annotations

from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")


class Backlog(Generic[T]):
    """A queue between one thread that offers and one that takes, bounded in items and in their sizes.

    Each counter has one thread that writes it, so that no lock is held while the other one waits for it.
    """

    def __init__(self, items: int, size: int) -> None:
        self._items, self._size = items, size
        self._queue: SimpleQueue[tuple[T, int]] = SimpleQueue()
        self._offered = self._taken = 0

    @property
    def size(self) -> int:
        """The sizes of what waits, in sum."""
        return self._offered - self._taken

    def __len__(self) -> int:
        return self._queue.qsize()

    def offer(self, item: T, size: int) -> bool:
        """Add an item, and say whether there was room for it."""
        if len(self) >= self._items or self.size + size > self._size:
            return False
        self._offered += size
        self._queue.put((item, size))
        return True

    def take(self) -> T:
        """Remove the oldest item; wait for one if there is none."""
        item, size = self._queue.get()
        self._taken += size
        return item
