"""An owner: one of the runners that lease from a redis store (promises P1, P2 and P8).

It holds a *seat*, a name that nobody else has at the same time: what a former owner of the seat had leased is brought
back when the seat is taken again. What others had comes back when their leases run out, by the hand of any owner.
Used by one thread, the one that made it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from socket import socket
from typing import Final, NamedTuple

from django_graceful.items import State, micros
from django_graceful.stores.base import StoreOwner
from django_graceful.stores.engine import records
from django_graceful.stores.engine.fates import Rules
from django_graceful.stores.engine.keeping import CANCELLED_FOR, SWEEP
from django_graceful.stores.redis import ending, moving, reading, timing
from django_graceful.stores.redis.desk import RedisDesk
from django_graceful.stores.redis.ending import End
from django_graceful.stores.redis.generation import Generation
from django_graceful.stores.redis.lanes import STALE, Lanes
from django_graceful.stores.redis.line import Line
from django_graceful.stores.redis.packing import cut, split
from django_graceful.stores.redis.pushing import push
from django_graceful.stores.redis.returning import Returning
from django_graceful.stores.redis.spool import Spool
from django_graceful.stores.redis.wake import Listener
from django_graceful.stores.values import Ending, Kept, LadderStep, Lease, Wish, Witness

#: Seconds that a lease lasts. What a dead host had is back that long after its last sign of life, and at most two
#: seconds (the longest sleep of a runner) later: within 15 (promise P8).
LEASE_SECONDS: Final = 12.5
#: Seconds between two renewals: two of them may fail.
RENEW_SECONDS: Final = 4.0
#: Seconds for a call, connecting included: the runner's loop waits for it.
TIMEOUT: Final = 2.0
#: For so many seconds after the server could not be reached, leases that ran out meanwhile are left to their runners,
#: which have had no way to renew them either: longer than the longest pause between two of their tries.
TRUCE: Final = 7.0
#: An execution begins with its tick, before so many bits; see lease.lua.
_TICK_SHIFT: Final = 23


class Held(NamedTuple):
    """One execution of ours."""

    queue: str
    id: bytes
    record: bytes


class RedisOwner(RedisDesk, StoreOwner):
    """See :class:`~django_graceful.stores.base.StoreOwner`.

    Making one opens nothing. ``former`` are seats whose owners are gone (this one, too), each with a witness for its
    workers: :meth:`begin` brings back what they had leased.
    """

    renew_every = RENEW_SECONDS
    remote = True

    def __init__(
        self,
        line: Line,
        seat: str,
        former: Mapping[str, Witness | None],
        max_crashes: int,
        spool: Spool | None = None,
    ) -> None:
        super().__init__(line)
        self.notices: list[str] = []
        self._seat = seat
        self._former = former
        self._begun = False
        #: The server could not be reached the last time; until when (monotonic seconds) nobody is rescued.
        self._cut_off, self._truce = False, 0.0
        self._generation = Generation(line)
        self._spool, self._spool_at = spool, 0.0
        self._max_crashes = max_crashes
        self._returning = Returning(line, seat, max_crashes)
        self._held: dict[int, Held] = {}
        self._wished: dict[int, Wish] = {}
        #: Wishes that the runner has been told of.
        self._told: set[int] = set()
        self._tick = 0
        #: A lease may have been given to us without our knowing: its answer never came.
        self._unsure = False
        self._lanes = Lanes(line)
        self._listener: Listener | None = None

    def begin(self) -> None:
        """Bring back what the former owners had leased. :meth:`prepare` does that, if it was not done before."""
        self.line.check_format()
        for queue in self.line.names():
            self._lanes.touch(queue)
            for seat, witness in self._former.items():
                self.notices += Returning(self.line, seat, self._max_crashes).recover(queue, witness)
        self._begun = True

    # What comes in

    def wake_socket(self) -> socket | None:
        if self._listener is None:
            self._listener = Listener(self.line)
        return self._listener.socket

    def prepare(self, limit: int = 2000) -> bool:
        cut_off, self._cut_off = self._cut_off, True  # until it has worked
        if not self._begun:
            self.begin()
        if self._generation.lost():
            self.line.check_format()
            self._lanes.forget()
        heard = None if self._listener is None else self._listener.heard()
        more = self._lanes.prepare(heard, limit)
        if self._unsure:
            for queue in self.line.names():
                self._returning.give_back_unknown(queue, self._held.keys())
                self._lanes.touch(queue)
            self._unsure = False
        if cut_off:
            self._truce = time.monotonic() + TRUCE
        if time.monotonic() >= self._truce:
            more = self._rescue() or more
        if self._spool is not None and time.monotonic() >= self._spool_at:
            if self._spool.hand_over(self.push):
                more = True
            else:
                self._spool_at = time.monotonic() + STALE
        self._cut_off = False
        return more

    def _rescue(self) -> bool:
        """Bring back what has run out. True: something came."""
        came = False
        for queue in self._lanes.expired():
            came_back = self._returning.rescue(queue, self._lanes.now())
            self.notices += came_back
            came = came or bool(came_back)
            self._lanes.touch(queue)
        return came

    def about_to_sleep(self) -> bool:
        return self._listener is None or not self._listener.news

    def next_due(self) -> float | None:
        return self._lanes.next_due()

    def changed(self, queue: str) -> None:
        self._lanes.touch(queue)

    def push(self, queue: str, records: Sequence[bytes], limit: int = 0) -> list[bytes]:
        ids = push(self.line, queue, records, limit)
        self._lanes.touch(queue)
        return ids

    # What runs

    def ready(self) -> dict[str, int]:
        return self._lanes.ready()

    def lease(self, queue: str, limit: int, owner: str) -> list[Lease]:
        who = f"{self._seat}\0{owner}".encode()
        self._unsure, was = True, self._unsure
        snapshot, blob = self.line.run("lease", queue, limit, who, self._tick, micros(LEASE_SECONDS))
        self._unsure = was
        self._lanes.learn(queue, snapshot)
        leases, unreadable = [], []
        for piece in split(blob):
            execution, record = int.from_bytes(piece[:8]), piece[24:]
            self._held[execution] = Held(queue, piece[8:24], record)
            self._tick = execution >> _TICK_SHIFT
            if records.fault(record):
                unreadable.append(execution)
            else:
                leases.append(Lease(execution, record))
        if unreadable:
            self.release(unreadable)
        return leases

    def finish(self, done: Sequence[int] = (), endings: Iterable[Ending] = ()) -> set[int]:
        rules = self._rules()
        plain: dict[str, list[bytes]] = {}
        ends: dict[str, list[End]] = {}
        refused: set[int] = set()
        given = list(done)
        for execution in given:
            held = self._held.get(execution)
            if held is None:
                refused.add(execution)
            elif ending.is_unique(held.record):
                ends.setdefault(held.queue, []).append(ending.done(execution, held.id, held.record))
            else:
                plain.setdefault(held.queue, []).append(ending.plainly(execution, held.id))
        for one in endings:
            held = self._held.get(one.execution)
            given.append(one.execution)
            if held is None:
                refused.add(one.execution)
            else:
                ends.setdefault(held.queue, []).append(ending.by(one, held.id, held.record, rules))
        for queue in plain.keys() | ends.keys():
            refused |= self._end(queue, plain.get(queue, []), ends.get(queue, []))
        self._forget(given)
        return refused

    def release(self, executions: Sequence[int]) -> set[int]:
        ends: dict[str, list[End]] = {}
        refused = set()
        for execution in executions:
            held = self._held.get(execution)
            if held is None:
                refused.add(execution)
            else:
                ends.setdefault(held.queue, []).append(ending.released(execution, held.id, held.record))
        for queue, some in ends.items():
            refused |= self._end(queue, [], some)
        self._forget(executions)
        return refused

    def renew(self, executions: Sequence[int]) -> set[int]:
        plain: dict[str, list[bytes]] = {}
        for execution in executions:
            held = self._held.get(execution)
            if held is not None:
                plain.setdefault(held.queue, []).append(ending.plainly(execution, held.id))
        refused = {execution for execution in executions if execution not in self._held}
        calls = [("renew", queue, (micros(LEASE_SECONDS), b"".join(some))) for queue, some in plain.items()]
        for answer in self.line.run_each(calls):
            refused.update(map(int.from_bytes, cut(answer, 8)))
        self._forget(refused)
        return refused

    def wishes(self) -> list[Wish]:
        for queue in self._lanes.wished():
            for wish in reading.wishes(self.line.wishes(queue)):
                if wish.execution in self._held:
                    self._wished.setdefault(wish.execution, wish)
            self._lanes.heeded(queue)
        new = [execution for execution in self._wished if execution not in self._told]
        self._told.update(new)
        return [self._wished[execution] for execution in new]

    def note_step(self, execution: int, step: LadderStep, at: float) -> None:
        held, wish = self._held.get(execution), self._wished.get(execution)
        if held is None or not self.line.run("step", held.queue, execution.to_bytes(8), step, micros(at)):
            return
        if wish is not None:
            stopping = step == "stopping"
            self._wished[execution] = replace(wish, stopping_at=at) if stopping else replace(wish, killed_at=at)

    def note_run(self, queue: str, name: str, run: str) -> None:
        timing.note_run(self.line, queue, name, run)

    def clock(self) -> float:
        return self._lanes.told() / 1e6

    def kept(self, queue: str, state: State, limit: int) -> list[Kept]:
        return moving.kept(self._views, queue, state, limit)

    def set_aside(self, queue: str, state: State, items: Sequence[Kept]) -> None:
        moving.set_aside(self.line, queue, state, items)

    def sweep(self) -> None:
        self.line.each_queue("sweep", micros(CANCELLED_FOR), SWEEP)

    def close(self, *, sync: bool = True) -> None:
        if self._listener is not None:
            self._listener.close()
        self.line.close()

    # Small things

    def _end(self, queue: str, plain: list[bytes], ends: list[End], mode: bytes = b"") -> set[int]:
        if not plain and not ends:
            return set()
        known = {end.execution: self._wished[end.execution] for end in ends if end.execution in self._wished}
        ended = ending.end(self.line, queue, plain, ends, known, mode=mode)
        self._lanes.learn(queue, ended.snapshot)
        return ended.refused

    def _forget(self, executions: Iterable[int]) -> None:
        for execution in executions:
            self._held.pop(execution, None)
        if self._wished:
            self._wished = {execution: wish for execution, wish in self._wished.items() if execution in self._held}
            self._told &= self._held.keys()

    def _rules(self) -> Rules:
        return Rules(self._lanes.now(), self._max_crashes)
