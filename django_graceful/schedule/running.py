"""What a runner needs of schedules: the tickers of its stores, and notes of how the items' runs ended."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from django_graceful.conf import Conf
from django_graceful.exceptions import GracefulError
from django_graceful.items import Outcome, decode_header, decode_meta, id_of
from django_graceful.queues import all_queues
from django_graceful.schedule.plans import Plan, misfit, plan_of
from django_graceful.schedule.registry import all_schedules
from django_graceful.schedule.state import META, Ran, encode
from django_graceful.stores.base import Lease, StoreOwner

logger = logging.getLogger("django_graceful.schedule")

_MARK = f'"{META}"'.encode()


def plans_for(conf: Conf, serves: Callable[[str], bool]) -> dict[str, list[Plan]]:
    """The plans of the schedules whose queues this runner serves, by store. What can not push is left out, and said."""
    queues = all_queues()
    found: dict[str, list[Plan]] = {}
    for schedule in all_schedules().values():
        wrong = misfit(schedule, queues, conf)
        if wrong is not None:
            logger.error("schedule %s does not run: it pushes to %s", schedule.name, wrong[1])
        elif serves(schedule.queue):
            try:
                plan = plan_of(schedule, queues[schedule.queue], conf)
            except GracefulError as error:
                logger.error("schedule %s does not run: %s", schedule.name, error)
            else:
                found.setdefault(plan.store, []).append(plan)
    return found


class _Note(NamedTuple):
    queue: str
    name: str
    execution: int
    ran: Ran


class Chronicle:
    """Ends of runs that are yet to be noted in the store. A crash before that loses the note, never the end itself."""

    def __init__(self) -> None:
        self._notes: list[_Note] = []

    def __bool__(self) -> bool:
        return bool(self._notes)

    def note(self, queue: str, leases: Iterable[Lease], outcome: Outcome, seconds: float | None) -> None:
        """These runs ended so; those that are of no schedule are passed over."""
        for lease in leases:
            record = lease.record
            if record[10:14] == b"\0\0\0\0" or _MARK not in record:  # no meta: by far the most
                continue
            head = decode_header(record)
            name = decode_meta(head.meta).get(META)
            if isinstance(name, str):
                ran = Ran(id_of(record).hex(), time.time(), str(outcome), seconds)
                self._notes.append(_Note(queue, name, lease.execution, ran))

    def forget(self, executions: Collection[int]) -> None:
        """The store has refused these: they did not end so."""
        self._notes = [note for note in self._notes if note.execution not in executions]

    def write(self, owner: StoreOwner) -> None:
        """Note them all. Raises what the store raises; those that are not written stay."""
        while self._notes:
            note = self._notes[0]
            owner.note_run(note.queue, note.name, encode(note.ran))
            del self._notes[0]
