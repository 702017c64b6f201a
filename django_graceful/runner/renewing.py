"""Keeping leases while their runs go on, also while draining (promise P8), where leases run out at all.

Runs in the master's loop, within a turn of the pump. A run whose lease is refused is another's by now, or nobody's: it
is stopped here, and whatever it ends with, the store refuses that too (promise P2).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection

from django_graceful.runner.handle import Handle, Stage
from django_graceful.runner.settlement import Settlement
from django_graceful.runner.slate import Why
from django_graceful.runner.tally import item_id
from django_graceful.stores.base import StoreOwner, Wish

logger = logging.getLogger("django_graceful.runner")

#: Why such a run is stopped.
LOST = "its lease was lost"


class Renewal:
    """The leases of one store's workers."""

    def __init__(self, owner: StoreOwner, workers: list[Handle], settlement: Settlement) -> None:
        self._owner = owner
        self._workers = workers
        self._settlement = settlement
        self._due = time.monotonic() + owner.renew_every

    def keep(self) -> None:
        """Renew what is held, if it is time. Raises what the store raises; it is time again at once then."""
        if time.monotonic() < self._due:
            return
        held = [lease.execution for worker in self._workers for unit in worker.units for lease in unit.leases]
        refused = self._owner.renew(held) if held else set()
        self._due = time.monotonic() + self._owner.renew_every
        for worker in self._workers:
            if refused and worker.stage is not Stage.GONE:
                self._let_go(worker, refused)

    def _let_go(self, worker: Handle, refused: Collection[int]) -> None:
        lost = {
            lease.execution: (unit.queue, lease)
            for unit in worker.units
            for lease in unit.leases
            if lease.execution in refused
        }
        if not lost:
            return
        back = worker.take_back()
        self._settlement.release([lease for lease in back if lease.execution not in refused])
        for lease in back:
            lost.pop(lease.execution, None)
        for execution, (queue, lease) in lost.items():
            logger.warning("%s %s is stopped here: %s (execution %d)", queue, item_id(lease), LOST, execution)
            self._settlement.wishes.setdefault(execution, Wish(execution, "", LOST))
            worker.stop(Why.CANCEL, execution)
