"""How much waits in each queue, for whoever looks while no owner answers: read from the board and the inbox."""

from __future__ import annotations

import threading
from collections.abc import Collection
from pathlib import Path

from django_graceful.exceptions import StoreUnavailable
from django_graceful.stores.leveldb.board import NAME, BoardReader
from django_graceful.stores.leveldb.room import Room


class Waiting:
    """One process's view, which remembers what it has counted. Safe for threads; opens nothing before it is asked."""

    def __init__(self, store: Path) -> None:
        self._room = Room(store, BoardReader(store / NAME))
        self._lock = threading.Lock()

    def look(self, queues: Collection[str]) -> dict[str, int]:
        """How many items of each of these queues can run or will, as far as owner and producers have written it down.

        Raises ``OSError``, and :class:`~django_graceful.exceptions.StoreUnavailable` while another thread counts.
        """
        if not self._lock.acquire(blocking=False):
            raise StoreUnavailable("another thread is counting what waits")
        try:
            return {queue: self._room.waiting(queue) for queue in queues}
        except FileNotFoundError:  # nobody has ever pushed
            return dict.fromkeys(queues, 0)
        finally:
            self._lock.release()
