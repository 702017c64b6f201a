"""The items that this process holds: the engine of every store over a map in memory, one thread at a time.

Only our own threads come here (those that run items, that hand over, that carry out a question): nobody interrupts
those in the middle of a step, as it may happen to the thread of a request, and none of them is interrupted by a signal
handler that wants the same lock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django_graceful.exceptions import UnknownQueue
from django_graceful.items import Outcome, State, id_of
from django_graceful.queues import get_queue
from django_graceful.runner.dispatch import Lane, choose
from django_graceful.runner.wire import Unit
from django_graceful.spill.inlet import Inlet
from django_graceful.stores.base import Ending, Wish
from django_graceful.stores.engine import keys
from django_graceful.stores.engine.kv import MemoryKV
from django_graceful.stores.engine.owner import Engine

#: Seconds after which a thread looks again by itself: the clock may have been set.
LONGEST: Final = 60.0
#: Where what does not run is kept.
_TABLES: Final = {keys.READY: State.WAITING, keys.DELAYED: State.SCHEDULED, keys.DEAD: State.DEAD}


@dataclass(slots=True, frozen=True)
class Left:
    """Items of one queue that do not run, in their order; ``dead`` ones, or those that wait."""

    queue: str
    dead: bool
    records: list[bytes]


@dataclass(slots=True)
class Depths:
    """How many items wait, by queue: the board of the engine. The engine itself never sleeps here."""

    waiting: dict[str, int]
    sleeping: bool = False

    def set_depth(self, queue: str, waiting: int, /) -> None:
        """So many wait."""
        self.waiting[queue] = waiting


class Keeper:
    """Takes in, leases, ends. ``clock`` gives seconds since the epoch."""

    def __init__(self, inlet: Inlet, clock: Callable[[], float] = time.time) -> None:
        self.depths = Depths({})
        self._inlet = inlet
        self._clock = clock
        self._lock = threading.Lock()
        self._kv = MemoryKV()
        self._engine = Engine(self._kv, clock=clock, board=self.depths)
        self._lanes: dict[str, Lane] = {}
        self._turn = 0
        self._open = True
        #: The ids of what runs, and its queue, by execution.
        self._running: dict[int, tuple[bytes, str]] = {}
        #: What runs and is done already, as the handler of its batch has said. Anybody may add to it, in one step.
        self.handled: set[int] = set()

    @property
    def busy(self) -> bool:
        """Whether anything runs."""
        return bool(self._running)

    def close(self) -> None:
        """Hand out nothing from now on."""
        with self._lock:
            self._open = False

    def lease(self) -> tuple[Unit | None, float]:
        """The next unit to run, if there is one now, and the seconds until there may be another one."""
        with self._lock:
            if not self._open:
                return None, LONGEST
            self._take_in()
            while self._engine.prepare():
                pass
            ready = self._engine.ready()
            wait = self._hold_back(ready)
            lane = choose((self._lane(name) for name in ready), ready, None)
            if lane is None:
                return None, wait
            unit = self._hand_out(lane)
            more = sum(ready.values()) > len(unit.leases if unit else ())
            return unit, 0.0 if more else wait

    def finish(self, unit: Unit, done: Sequence[int], endings: Iterable[Ending]) -> None:
        """This unit has ended. What was abandoned before is somebody else's by now."""
        with self._lock:
            self._lanes[unit.queue].workers -= 1
            self._engine.finish(done, endings)
            for lease in unit.leases:
                self._running.pop(lease.execution, None)
                self.handled.discard(lease.execution)

    def abandon(self) -> list[str]:
        """Nobody waits for what runs any more: it is as if it had been interrupted. The ids, for people."""
        with self._lock:
            running, self._running = self._running, {}
            done = [at for at in running if at in self.handled]
            lost = [at for at in running if at not in self.handled]
            self._engine.finish(done, [Ending(at, Outcome.INTERRUPTED, reason="shutdown") for at in lost])
            return [f"{running[at][0].hex()} of queue {running[at][1]}" for at in lost]

    def left(self, *, dead_only: bool = False) -> list[Left]:
        """Everything that does not run, whether it waits or is dead."""
        with self._lock:
            self._take_in()
            tables = [keys.DEAD] if dead_only else list(_TABLES)
            return [left for table in tables for left in self._left_in(table)]

    def forget(self, left: Left, records: Sequence[bytes]) -> None:
        """These are somebody else's now."""
        ids = [id_of(record).hex() for record in records]
        states = (State.DEAD,) if left.dead else (State.WAITING, State.SCHEDULED, State.RETRYING)
        with self._lock:
            for state in states:
                self._engine.discard(left.queue, state, ids)

    def call(self, name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, list[Wish]]:
        """One question or order of the desk: the answer, and which runs it wishes to be cancelled."""
        with self._lock:
            self._take_in()
            return getattr(self._engine, name)(*arguments, **options), self._engine.wishes()

    def sweep(self) -> None:
        """What was cancelled long ago is forgotten."""
        with self._lock:
            self._engine.sweep()

    def _take_in(self) -> None:
        if self._inlet:
            for queue, records in self._inlet.take().items():
                self._engine.push(queue, records)

    def _hold_back(self, ready: dict[str, int]) -> float:
        """Take batches that shall fill out of ``ready``; the seconds until something may change by itself."""
        now, times = time.monotonic(), [LONGEST]
        due = self._engine.next_due()
        if due is not None:
            times.append(max(0.0, due - self._clock()))
        for name in list(ready):
            lane = self._lane(name)
            if ready[name] < lane.batch_length:
                lane.fill_by = lane.fill_by or now + get_queue(name).options.batch_wait
                if now < lane.fill_by:
                    times.append(lane.fill_by - now)
                    del ready[name]
        return min(times)

    def _hand_out(self, lane: Lane) -> Unit | None:
        leases = self._engine.lease(lane.name, lane.batch_length, "a thread")
        if not leases:  # all that is ready has the key of something that runs
            return None
        self._turn += 1
        lane.served, lane.fill_by = self._turn, 0.0
        lane.workers += 1
        self._running.update({lease.execution: (id_of(lease.record), lane.name) for lease in leases})
        return Unit(0, lane.name, lane.batch_length > 1, leases)

    def _lane(self, name: str) -> Lane:
        found = self._lanes.get(name)
        if found is None:
            found = self._lanes[name] = _lane(name)
        return found

    def _left_in(self, table: bytes) -> Iterator[Left]:
        running = {item_id for item_id, _ in self._running.values()}
        found: dict[int, list[bytes]] = {}
        for key, record in self._kv.scan(table, keys.beyond(table)):
            if id_of(record) not in running:
                found.setdefault(keys.queue_of(key), []).append(record)
        for number, records in found.items():
            name = self._kv.get(keys.numbered(keys.NAME, number)) or b""
            yield Left(name.decode(), table == keys.DEAD, records)


def _lane(name: str) -> Lane:
    try:
        options = get_queue(name).options
    except UnknownQueue:  # the run says so
        return Lane(name, 1)
    return Lane(name, options.workers * options.threads, options.batch_length)
