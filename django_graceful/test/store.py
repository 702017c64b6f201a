"""The stores of a test: in memory, with a clock that stands still until the test moves it, and a log of all pushes."""

from __future__ import annotations

import time
from collections.abc import Sequence

from django_graceful.conf import StoreConf
from django_graceful.items import decode_header, encode_header, id_of
from django_graceful.stores.base import Store
from django_graceful.stores.memory import MemoryOwner, MemoryStore
from django_graceful.test.log import Pushed


class Clock:
    """Stands still. ``at`` is in µs since the epoch; calling it gives seconds."""

    def __init__(self) -> None:
        self.at = time.time_ns() // 1000

    def __call__(self) -> float:
        return (self.at + 0.5) / 1e6  # rounding down gives ``at`` back


class LoggedStore(MemoryStore):
    """Adds what is pushed to ``log``, apart from duplicates. Delays begin at the clock's time, not at the real one."""

    def __init__(self, conf: StoreConf, clock: Clock, log: list[Pushed]) -> None:
        super().__init__(conf, clock)
        self._clock = clock
        self._log = log

    @property
    def engine(self) -> MemoryOwner:
        """The owner's face of it."""
        return self._engine()

    def push(self, queue: str, records: Sequence[bytes], limit: int = 0) -> list[bytes]:
        with self.lock:
            moved = [self._moved(record) for record in records]
            ids = super().push(queue, moved, limit)
            self._log += (
                Pushed.of(queue, record) for record, kept in zip(moved, ids, strict=True) if kept == id_of(record)
            )
            return ids

    def _moved(self, record: bytes) -> bytes:
        header = decode_header(record)
        wait = header.not_before - header.pushed_at if header.not_before else 0
        header.pushed_at = self._clock.at
        header.not_before = self._clock.at + wait if wait else 0
        return encode_header(header, record)


class Stock:
    """The stores of one test by alias, with what they have in common."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.log: list[Pushed] = []
        self._stores: dict[str, LoggedStore] = {}

    def make(self, conf: StoreConf) -> Store:
        """The store of that alias, always the same one."""
        found = self._stores.get(conf.alias)
        return found or self._stores.setdefault(conf.alias, LoggedStore(conf, self.clock, self.log))

    @property
    def engines(self) -> list[MemoryOwner]:
        """The owners of all stores, with everything ready that is due."""
        found = [store.engine for store in self._stores.values()]
        for engine in found:
            engine.prepare(1 << 30)
        return found
