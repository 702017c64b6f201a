"""Cancelling (promise P6): what waits is cancelled in one write, what runs gets a wish that names its execution.

A wish is stored, so it counts whatever happens to runner and owner; the first one for an execution counts. Its steps
(the ladder's times) and how asked runs ended are in memory only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice

from django_graceful.items import HEADER, State
from django_graceful.stores.engine import counters, keys, ledger, records
from django_graceful.stores.engine.core import BATCH, Core, Step
from django_graceful.stores.engine.desk import ASIDE, Desk, Place, state_at
from django_graceful.stores.engine.lanes import Lane
from django_graceful.stores.values import CancelCount, CancelOutcome, CancelReply, LadderStep, Wish, item_id

#: Lane, key and bytes of an item that can not be read, and why.
Unreadable = tuple[Lane, bytes, bytes, str]


class Cancelling:
    """Orders to cancel. Methods are those of :mod:`django_graceful.stores.base`."""

    def __init__(self, core: Core, desk: Desk) -> None:
        self._core = core
        self._desk = desk
        self._wished = core.ledger.wished
        self._asked: list[int] = []

    def request_cancel(self, text: str, by: str, reason: str) -> CancelReply:
        place = self._desk.find(text)
        if place is None:
            return CancelReply.UNKNOWN
        lane, key, value = place
        state = state_at(lane, key, value)
        if state in ASIDE:
            return CancelReply.UNKNOWN
        if state is State.RUNNING:
            self._write([lane.out[key]], [], by, reason)
            return CancelReply.ASKED
        done = self._write([], [place], by, reason)
        return CancelReply.CANCELLED if done.cancelled else CancelReply.UNKNOWN

    def cancel_some(self, queue: str, key: str | None, by: str, reason: str, *, before: int | None) -> CancelCount:
        lane = self._core.lanes.get(queue)
        if lane is None:
            return CancelCount()
        end = self._core.next_sequence if before is None else max(0, min(before, self._core.next_sequence))
        wanted = None if key is None else key.encode(errors="replace")
        batch = list(islice(_waiting(self._core, lane, wanted, end), BATCH))
        done = self._write(_running(self._core, lane, wanted, end), batch, by, reason)
        return replace(done, before=end) if len(batch) == BATCH else done

    def cancel_outcome(self, text: str) -> CancelOutcome | None:
        return self._core.ledger.outcomes.get(item_id(text))

    def wishes(self) -> list[Wish]:
        asked, self._asked = self._asked, []
        return [self._wished[execution] for execution in asked if execution in self._wished]

    def note_step(self, execution: int, step: LadderStep, at: float) -> None:
        wish = self._wished.get(execution)
        if wish is None:
            return
        if step == "stopping":
            self._wished[execution] = replace(wish, stopping_at=wish.stopping_at or at)
        else:
            self._wished[execution] = replace(wish, killed_at=wish.killed_at or at)

    def _write(self, executions: Iterable[int], places: Iterable[Place], by: str, reason: str) -> CancelCount:
        """These runs are to stop, and these items, which do not run, are cancelled: in one write.

        Unreadable ones are set aside as dead instead.
        """
        step = self._core.step()
        by, reason = by[-records.MAX_TEXT :], reason[-records.MAX_TEXT :]
        asked = self._ask(step, executions, by, reason)
        cancelled, unreadable = self._cancel(step, places, by, reason)
        step.commit()
        for lane, key, value, fault in unreadable:
            self._core.set_aside(lane, key, value, fault)
        return CancelCount(cancelled, asked)

    def _ask(self, step: Step, executions: Iterable[int], by: str, reason: str) -> int:
        """How many of these had not been asked before."""
        now = self._core.now() / 1e6
        new = {run: Wish(run, by, reason, now) for run in executions if run not in self._wished}
        for run, wish in new.items():
            step.changes[keys.wish(run)] = ledger.encode_wish(wish)
        step.then(self._heard, new)
        return len(new)

    def _heard(self, new: dict[int, Wish]) -> None:
        self._wished.update(new)
        self._asked += new
        for run in new:
            self._core.ledger.forget_outcome(run)

    def _cancel(self, step: Step, places: Iterable[Place], by: str, reason: str) -> tuple[int, list[Unreadable]]:
        """How many of these are cancelled, and those that can not be read."""
        now, cancelled, unreadable = self._core.now(), 0, []
        for lane, key, value in places:
            try:
                record = records.ended(value, by, reason)
            except (ValueError, RecursionError) as error:
                unreadable.append((lane, key, value, str(error)))
                continue
            self._desk.remove(step, lane, key, value)
            where = keys.timed(keys.CANCELLED, lane.number, now, keys.sequence_of(key))
            step.changes[where] = record
            step.changes[keys.INDEX + record[records.ID]] = where
            tally = step.tally(lane)
            tally[counters.CANCELLED] += 1
            tally[counters.STOPPED] += 1
            cancelled += 1
        return cancelled, unreadable


def _running(core: Core, lane: Lane, wanted: bytes | None, end: int) -> Iterator[int]:
    """The executions of the items that run, pushed before ``end`` and of that key."""
    for key, execution in lane.out.items():
        if execution and keys.sequence_of(key) < end and (wanted is None or _has_key(core.kv.get(key) or b"", wanted)):
            yield execution


def _waiting(core: Core, lane: Lane, wanted: bytes | None, end: int) -> Iterator[Place]:
    """The items that wait in any way, pushed before ``end`` and of that key, in order."""
    last = keys.u64(end)
    for key, value in chain(_ready(core, lane), core.items(keys.DELAYED, lane, lane.due_from)):
        if key[-8:] < last and (wanted is None or _has_key(value, wanted)) and not lane.out.get(key):
            yield lane, key, value


def _ready(core: Core, lane: Lane) -> Iterator[tuple[bytes, bytes]]:
    """What waits and runs. Where that begins is kept: the next stretch would walk over all that this one deletes."""
    front = lane.front()
    if front is not None:
        entries = core.items(keys.READY, lane, front)
        first = next(entries, None)
        lane.head.skip_to(first and first[0])
        if first is not None:
            yield first
            yield from entries


def _has_key(record: bytes, wanted: bytes) -> bool:
    length = len(wanted)
    return record[HEADER.size : HEADER.size + length] == wanted and int.from_bytes(record[8:10], "little") == length
