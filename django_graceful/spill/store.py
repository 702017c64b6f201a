"""One entry of ``STORES`` with ``BACKEND: "memory"`` and ``SPILL_TO``, as this process holds it.

While the process may keep items in memory (:mod:`~django_graceful.spill.fitness`), a push ends here; else, and from the
first word of the end on, it goes straight to the other store. Between the two nothing falls through: who pushed while
the end began takes back what nobody has taken yet, and pushes it there.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

from django_graceful.conf import StoreConf
from django_graceful.exceptions import QueueFull, StoreLocked
from django_graceful.items import id_of
from django_graceful.spill import ending, fitness
from django_graceful.spill.desk import Desk
from django_graceful.spill.stock import Stock, add
from django_graceful.stores import get_store
from django_graceful.stores.base import Store, StoreAdmin, StoreOwner, Witness
from django_graceful.stores.exchange import Exchange, LocalExchange

logger = logging.getLogger("django_graceful.spill")


class SpillStore(Store):
    """Safe for threads, forks, and signal handlers that push."""

    def __init__(self, conf: StoreConf) -> None:
        self.alias = conf.alias
        self.conf = conf
        self._exchange = LocalExchange()
        self._stock: Stock | None = None
        _stores.add(self)

    def push(self, queue: str, records: Sequence[bytes], limit: int = 0) -> list[bytes]:
        """As :meth:`Store.push`, but what is kept in memory is lost with a process that is killed.

        The ids are those of ``records``. Several that push at the same moment may pass ``limit`` by as many.
        """
        stock = self._open()
        if stock is None:
            return self.other.push(queue, records, limit)
        waiting = stock.keeper.depths.waiting.get(queue, 0) + stock.inlet.count(queue)
        if limit and waiting + len(records) > limit:
            raise QueueFull(f"queue {queue!r}: {waiting} items wait, {limit} may")
        stock.inlet.put(queue, records)
        if stock.closed or not self._wake(stock):
            missed = stock.inlet.take_back(queue, records)
            if missed:
                self.other.push(queue, missed)
        return [id_of(record) for record in records]

    @property
    def other(self) -> Store:
        """The durable store."""
        return get_store(self.conf.spill_to)

    @contextmanager
    def admin(self, *, alone: bool = False) -> Iterator[StoreAdmin]:
        """The desk of what this process has in memory. What was handed over is at the desk of the other store."""
        yield cast(StoreAdmin, Desk(self._open() or self._stock or Stock(self.conf)))

    def own(self, witness: Witness | None = None, *, max_crashes: int = 3) -> StoreOwner:
        """Nobody owns it: each process runs what it keeps."""
        raise StoreLocked(f"the store {self.alias!r} lives in the memory of each process, which owns it", os.getpid())

    def exchange(self) -> Exchange:
        return self._exchange

    def start_anew(self) -> None:
        """In a forked child: it has nothing."""
        self._stock = None
        self._exchange = LocalExchange()

    def _open(self) -> Stock | None:
        """Where pushes are kept; None: in the other store."""
        stock = self._stock
        if stock is not None:
            return None if stock.closed else stock
        return self._made() if fitness.fit() else None

    def _made(self) -> Stock:
        with _making:
            if self._stock is None:
                ending.expect()
                made = Stock(self.conf)
                add(made)
                self._stock = made
            return self._stock

    def _wake(self, stock: Stock) -> bool:
        try:
            stock.hands.wake()
        except RuntimeError as error:
            logger.warning("store %s: no thread can be started (%s); its items go to another store", self.alias, error)
            return False
        return True


def _after_fork() -> None:
    global _making
    _making = threading.RLock()
    for store in list(_stores):
        store.start_anew()


_stores: weakref.WeakSet[SpillStore] = weakref.WeakSet()
#: Reentrant: a signal handler may push while its thread is in here.
_making = threading.RLock()
os.register_at_fork(after_in_child=_after_fork)
