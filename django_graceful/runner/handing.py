"""Handing out: which worker gets what, and when there must be more workers. The decisions are :mod:`.dispatch`'s.

Runs in the master's loop, within a turn of the pump.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from django_graceful.items import Outcome
from django_graceful.queues import all_queues, find_queue
from django_graceful.runner.dispatch import STALL, Lane, choose, workers_wanted
from django_graceful.runner.handle import Handle, Stage
from django_graceful.runner.nursery import Nursery
from django_graceful.runner.slate import SlateDirectory
from django_graceful.runner.watch import Limits, Watch
from django_graceful.stores.base import Ending, StoreOwner

logger = logging.getLogger("django_graceful.runner")

#: How the reason of an item begins that is dead because no code declares its queue.
NO_HANDLER = "no app's queues.py declares a queue named"
#: What to do when it is a queue of Django's Tasks.
TASK_ADVICE = "put the part after the colon into QUEUES of its entry in TASKS"
#: Such items are set aside that many at a time.
_ASIDE = 1000

_names = count(1)


@dataclass(slots=True)
class Crew:
    """What the pumps of one runner share. ``used`` of ``most`` worker processes exist, over all of them."""

    nursery: Nursery
    limits: Limits
    #: Whether this runner handles that queue.
    serves: Callable[[str], bool]
    #: Called after each turn of a pump.
    changed: Callable[[], None]
    most: int
    used: int = 0


class Handing:
    """Hands the items of one store to its workers."""

    def __init__(
        self,
        owner: StoreOwner,
        crew: Crew,
        workers: list[Handle],
        slates: SlateDirectory,
        changed: Callable[[Handle], None],
    ) -> None:
        self._owner = owner
        self._crew = crew
        self._workers = workers
        self._slates = slates
        self._changed = changed
        self._turn = 0
        self.lanes: dict[str, Lane] = {}
        #: Set once they exist; they know the lanes.
        self.watch: Watch
        #: A worker could not start: none is ordered before this moment (monotonic seconds).
        self.no_spawn_before = 0.0

    def hand_out(self, turn: int, news: bool) -> None:
        """Give every worker what is its turn, and order more workers where work waits for want of them.

        ``turn`` numbers the rounds. ``news``: somebody must be there to hear them.
        """
        self._turn = turn
        ready = {name: number for name, number in self._owner.ready().items() if self._crew.serves(name)}
        for name in [name for name in ready if find_queue(name) is None]:
            self._set_aside(name, ready.pop(name))
        self._wait_for_batches(ready)
        for lane in self.lanes.values():
            lane.workers = 0
        for worker in self._workers:
            if worker.queue is not None:
                self.lanes[worker.queue].workers += 1
        for name in ready:
            self._lane(name)
        for worker in sorted(self._workers, key=lambda w: len(w.units)):
            if worker.stage is Stage.READY and not worker.stops:  # a run that does not stop takes its worker along
                self._feed(worker, ready)
        self._spawn(ready, news)

    def _feed(self, worker: Handle, ready: dict[str, int]) -> None:
        """Give this worker what is its turn, if it has room."""
        if self.watch.spent(worker):
            worker.retire()
            return
        holding = worker.queue
        if holding is not None and self.lanes[holding].full(len(worker.units)):
            return
        chosen = choose(self.lanes.values(), ready, holding)
        if chosen is None:
            return
        moving = time.monotonic() - worker.hands.moved_at < STALL
        room = chosen.room(len(worker.units), moving=moving)
        if not room:
            return
        leases = self._owner.lease(chosen.name, room, worker.name)
        if not leases:
            ready[chosen.name] = 0
            return
        ready[chosen.name] = max(0, ready[chosen.name] - len(leases))
        chosen.served, chosen.fill_by = self._turn, 0.0
        chosen.workers += holding is None
        worker.give(chosen.name, leases, batch=chosen.batch_length > 1, timeout=chosen.timeout)

    def _wait_for_batches(self, ready: dict[str, int]) -> None:
        """An unfilled batch waits for more, but not for long."""
        now = time.monotonic()
        for name in list(ready):
            lane = self._lane(name)
            if lane.batch_length <= 1 or ready[name] >= lane.batch_length:
                continue
            lane.fill_by = lane.fill_by or now + all_queues()[name].options.batch_wait
            if now < lane.fill_by:
                del ready[name]

    def _spawn(self, ready: dict[str, int], news: bool) -> None:
        now = time.monotonic()
        starting = sum(worker.stage is Stage.STARTING for worker in self._workers)
        wanted = workers_wanted(self.lanes.values(), ready) - starting
        if news and not self._workers:
            wanted = max(1, wanted)
        while wanted > 0 and self._crew.used < self._crew.most and now >= self.no_spawn_before:
            worker = Handle(f"{time.time_ns():x}-{next(_names)}", self._slates, self._crew.nursery, self._changed)
            self._workers.append(worker)
            self._crew.used += 1
            wanted -= 1

    def _set_aside(self, name: str, number: int) -> None:
        """Items of a queue that no code declares can not run; they wait among the dead until one does."""
        advice = TASK_ADVICE if name.startswith(("tasks:", "tasks@")) else "declare it"
        reason = f"{NO_HANDLER} {name!r}; {advice} and restart the runner, or discard the items"
        leases = self._owner.lease(name, min(number, _ASIDE), "none")
        self._owner.finish((), [Ending(lease.execution, Outcome.DEAD, reason=reason) for lease in leases])
        logger.error("%d items of queue %r are set aside: %s", len(leases), name, reason)

    def _lane(self, name: str) -> Lane:
        lane = self.lanes.get(name)
        if lane is None:
            options = all_queues()[name].options
            lane = self.lanes[name] = Lane(
                name, options.workers, options.batch_length, options.threads, options.timeout
            )
        return lane
