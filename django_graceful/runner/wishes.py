"""Cancel wishes on their way from the store to the worker, and the ladder's times on the way back.

Runs in the master's loop, within a turn of the pump. A wish stops the run that it names and no other: what has not
begun is taken back and cancelled, what has ended meanwhile is left alone (done first wins).
"""

from __future__ import annotations

import time
from contextlib import suppress

from django_graceful.exceptions import StoreError
from django_graceful.items import Outcome
from django_graceful.runner.handle import Handle, Stage
from django_graceful.runner.settlement import Settlement
from django_graceful.runner.slate import Why
from django_graceful.stores.base import Ending, LadderStep, StoreOwner, Wish


class Wishes:
    """Carries out what people wish of one store's runs."""

    def __init__(self, owner: StoreOwner, workers: list[Handle], settlement: Settlement) -> None:
        self._owner = owner
        self._workers = workers
        self._settlement = settlement

    def grant(self) -> None:
        """Take up the wishes that have come."""
        wished = {wish.execution: wish for wish in self._owner.wishes()}
        if not wished:
            return
        for worker in self._workers:
            executions = [lease.execution for unit in worker.units for lease in unit.leases]
            mine = {execution: wished[execution] for execution in executions if execution in wished}
            if mine:
                self._grant(worker, mine)

    def killed(self, worker: Handle) -> None:
        """The worker is killed now: the last step of the ladder for the runs in it that were asked to stop."""
        now = time.time()
        for unit in worker.units:
            for lease in unit.leases:
                if lease.execution in self._settlement.wishes:
                    self._note(lease.execution, "killed", now)

    def _grant(self, worker: Handle, mine: dict[int, Wish]) -> None:
        self._settlement.wishes.update(mine)
        if worker.stage is Stage.GONE:  # its death decides
            return
        queue = worker.queue or ""
        back = worker.take_back()
        for lease in back:
            if lease.execution in mine:
                self._settlement.end(queue, lease, Ending(lease.execution, Outcome.CANCELLED))
        self._settlement.release([lease for lease in back if lease.execution not in mine])
        for execution in mine.keys() - {lease.execution for lease in back}:
            worker.stop(Why.CANCEL, execution)
            at = _told_at(worker, execution)
            if at is not None:
                self._note(execution, "stopping", at)

    def _note(self, execution: int, step: LadderStep, at: float) -> None:
        """For people; a store that can not take it just now does not keep a run from being stopped."""
        with suppress(StoreError):
            self._owner.note_step(execution, step, at)


def _told_at(worker: Handle, execution: int) -> float | None:
    """When (seconds since the epoch) the run of this execution was told to stop; None: it was not."""
    for unit in worker.units:
        if unit.last in worker.stops and any(lease.execution == execution for lease in unit.leases):
            return time.time() - (time.monotonic() - worker.stops[unit.last][1])
    return None
