"""The engine: the owner of a store over an ordered map (promises P1, P2, P5 to P9 as far as stores carry them).

It runs in one thread of one process, the owner's. Every public method is one of the contract's
(:mod:`django_graceful.stores.base`) and hands on to the part of the engine whose idea it is. A method that raised
because the map could not be written has changed nothing; the map must then be closed and opened again, because nobody
can say what of the failed write is on disk.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from socket import socket
from typing import Final

from django_graceful.exceptions import QueueFull
from django_graceful.items import State
from django_graceful.stores.base import Ending, Kept, LadderStep, Lease, StoreOwner, Wish, Witness
from django_graceful.stores.engine import due, finishing, keys, moving, recovery, version
from django_graceful.stores.engine.cancelling import Cancelling
from django_graceful.stores.engine.core import Core
from django_graceful.stores.engine.desk import Desk
from django_graceful.stores.engine.handovers import Handovers
from django_graceful.stores.engine.keeping import Housekeeping
from django_graceful.stores.engine.kv import KV
from django_graceful.stores.engine.leasing import Leasing
from django_graceful.stores.engine.ports import Board, Intake, Wake
from django_graceful.stores.engine.served import Served
from django_graceful.stores.engine.taking import take_in
from django_graceful.stores.engine.timing import Timing
from django_graceful.stores.engine.views import Views

#: Items that are taken in at once when somebody waits for an answer.
_GULP: Final = 10_000
_SEGMENTS_END: Final = keys.beyond(keys.SEGMENT)


class Engine(Served, StoreOwner):
    """The owner of the store in ``kv``. Making one brings back what a former owner had leased.

    ``clock`` gives seconds since the epoch. ``sync``: every write survives power loss when it returns. ``intake``,
    ``board`` and ``wake`` are the ends of what producers in other processes use; None where there are none.
    ``max_crashes`` and ``witness`` are as for :meth:`~django_graceful.stores.base.Store.own`. ``take_in``: the inbox is
    taken in at once; else :meth:`prepare` does it, piece by piece, while the first items run already.
    """

    def __init__(
        self,
        kv: KV,
        *,
        clock: Callable[[], float] = time.time,
        max_crashes: int = 3,
        sync: bool = False,
        intake: Intake | None = None,
        board: Board | None = None,
        wake: Wake | None = None,
        witness: Witness | None = None,
        take_in: bool = True,
    ) -> None:
        version.check(kv)
        self.notices: list[str] = []
        self._kv = kv
        self._max_crashes = max_crashes
        self._intake = intake
        self._board = board
        self._wake = wake
        self._news = False
        epoch = keys.read_u64(kv.get(keys.EPOCH)) + 1
        kv.write(version.mark() | {keys.EPOCH: keys.u64(epoch)}, sync=sync)
        self._core = core = Core(kv, clock, sync=sync, board=board)
        self._desk = Desk(core)
        self._cancelling = Cancelling(core, self._desk)
        self._views = Views(core, self._desk)
        self._keeping = Housekeeping(core)
        self._timing = Timing(core, self._desk)
        self._handovers = Handovers(core)
        self._leasing = Leasing(core, epoch)
        self.notices += recovery.recover(core, witness, max_crashes)
        self._leasing.load_heads()
        self._positions: dict[bytes, int] = {}
        if intake is not None:
            self._positions = {key[1:]: keys.read_u64(at) for key, at in kv.scan(keys.SEGMENT, _SEGMENTS_END)}
            intake.open(self._positions)
        if take_in:
            self._take_in_all()

    # What comes in

    def wake_socket(self) -> socket | None:
        return None if self._wake is None else self._wake.socket

    def prepare(self, limit: int = 2000) -> bool:
        self._news = False
        if self._board is not None and self._board.sleeping:
            self._board.sleeping = False
        if self._wake is not None:
            self._wake.drain()
        more = self._take(limit)
        for lane in self._core.lanes.values():
            limit_due = due.make_due(self._core, lane, limit)
            more = more or limit_due == limit
        return more

    def about_to_sleep(self) -> bool:
        if self._board is not None:
            self._board.sleeping = True
        if not self._news and (self._intake is None or not self._intake.pending()):
            return True
        if self._board is not None:
            self._board.sleeping = False
        return False

    def next_due(self) -> float | None:
        times = (due.first_due(self._core, lane) for lane in self._core.lanes.values())
        first = min((time for time in times if time is not None), default=None)
        return None if first is None else first / 1e6

    def push(self, queue: str, records: Sequence[bytes], limit: int = 0) -> list[bytes]:
        core = self._core
        lane = core.lane(queue)
        step = core.step()
        before = lane.depth
        ids = take_in(core, step, lane, records)
        after = step.depth(lane)
        if limit and after > limit and after > before:
            raise QueueFull(f"queue {queue!r}: {before} items wait, {limit} may")
        step.commit()
        self._news = True
        return ids

    def _take_in_all(self) -> None:
        while self._take(_GULP):
            pass

    def _take(self, limit: int) -> bool:
        """Take up to ``limit`` items of the inbox in. True: there are more."""
        if self._intake is None:
            return False
        taken = self._intake.read(limit)
        self.notices += taken.damage
        news = {at: offset for at, offset in taken.positions.items() if self._positions.get(at) != offset}
        if news:
            step = self._core.step()
            by_queue: dict[str, list[bytes]] = {}
            for queue, record in taken.entries:
                by_queue.setdefault(queue, []).append(record)
            for queue, records in by_queue.items():
                take_in(self._core, step, self._core.lane(queue), records)
            step.changes.update({keys.SEGMENT + at: keys.u64(offset) for at, offset in news.items()})
            step.then(self._positions.update, news)
            step.commit()
        gone = self._intake.advance()
        if gone:
            self._kv.write({keys.SEGMENT + at: None for at in gone}, sync=False)
        for at in gone:
            self._positions.pop(at, None)
        return taken.more

    # What runs

    def ready(self) -> dict[str, int]:
        return {name: number for name, lane in self._core.lanes.items() if (number := lane.leasable) > 0}

    def lease(self, queue: str, limit: int, owner: str) -> list[Lease]:
        return self._leasing.lease(queue, limit, owner)

    def finish(self, done: Sequence[int] = (), endings: Iterable[Ending] = ()) -> set[int]:
        return finishing.finish(self._core, done, endings, self._max_crashes)

    def release(self, executions: Sequence[int]) -> set[int]:
        return finishing.release(self._core, executions)

    def renew(self, executions: Sequence[int]) -> set[int]:
        return {execution for execution in executions if execution not in self._core.ledger.running}

    def wishes(self) -> list[Wish]:
        return self._cancelling.wishes()

    def note_step(self, execution: int, step: LadderStep, at: float) -> None:
        self._cancelling.note_step(execution, step, at)

    def note_run(self, queue: str, name: str, run: str) -> None:
        self._timing.note_run(queue, name, run)

    def clock(self) -> float:
        return self._core.clock()

    def kept(self, queue: str, state: State, limit: int) -> list[Kept]:
        return moving.kept(self._core, self._desk, queue, state, limit)

    def set_aside(self, queue: str, state: State, items: Sequence[Kept]) -> None:
        moving.set_aside(self._core, queue, state, items)

    def sweep(self) -> None:
        self._keeping.sweep()

    def close(self, *, sync: bool = True) -> None:
        try:
            if sync:
                self._kv.write({}, sync=True)
        finally:
            self._kv.close()
