"""Finishing: executions end, all those of one call in one write. Which ones still run is looked up, never believed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from django_graceful.items import UNTIL_FINISHED, Outcome, State, micros
from django_graceful.stores.engine import counters, fates, keys, ledger, records
from django_graceful.stores.engine.core import Core, Step
from django_graceful.stores.engine.fates import Fate, Rules
from django_graceful.stores.engine.ledger import Chunk
from django_graceful.stores.values import CancelOutcome, Ending

#: Where an item is set aside, and the numbers that count it there and for good.
_ASIDE: Final = {
    State.DEAD: (keys.DEAD, counters.DEAD, counters.DIED),
    State.CANCELLED: (keys.CANCELLED, counters.CANCELLED, counters.STOPPED),
}
#: What became of a run that was asked to stop, by where its item is.
_OUTCOMES: Final = {None: Outcome.DONE, State.DEAD: Outcome.DEAD, State.CANCELLED: Outcome.CANCELLED}


class Closing:
    """One step that ends executions."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._running = core.ledger.running
        self.step: Step = core.step()
        self.refused: set[int] = set()
        self._ended: set[int] = set()
        self._per_chunk: Counter[Chunk] = Counter()
        self._rewritten: set[Chunk] = set()
        #: What those became that did not plainly end as done: where they are now.
        self._states: dict[int, State | None] = {}

    def done(self, executions: Iterable[int]) -> None:
        """These ended well."""
        changes, running, ended = self.step.changes, self._running, self._ended
        done: Counter[Chunk] = Counter()
        for execution in executions:
            chunk = running.get(execution)
            if chunk is None or execution in ended:
                self.refused.add(execution)
                continue
            ended.add(execution)
            at = execution - chunk.first
            changes[chunk.keys[at]] = None
            changes[keys.INDEX + chunk.ids[at]] = None
            if at in chunk.uniques:
                self._free(chunk, at)
            done[chunk] += 1
        for chunk, number in done.items():
            tally = self.step.tally(chunk.lane)
            tally[counters.READY] -= number
            tally[counters.DONE] += number
        self._per_chunk.update(done)

    def end(self, execution: int, decide: Callable[[bytes], Fate]) -> bool:
        """This one ended as ``decide`` says of its record. False: it is refused."""
        chunk = self._running.get(execution)
        if chunk is None or execution in self._ended:
            self.refused.add(execution)
            return False
        self._ended.add(execution)
        self._per_chunk[chunk] += 1
        self._rewritten.add(chunk)
        at = execution - chunk.first
        record = self.step.get(chunk.keys[at]) or b""
        if reason := records.fault(record):
            self._spoiled(chunk, at, record, reason)
            self._states[execution] = State.DEAD
        else:
            fate = decide(record)
            self._move(chunk, at, fate)
            self._states[execution] = fate.state
        return True

    def result(self, execution: int, text: bytes, ttl: float) -> None:
        """Keep what an execution left, for ``ttl`` seconds."""
        chunk = self._running[execution]
        item_id = chunk.ids[execution - chunk.first]
        now = self._core.now()
        expires = now + micros(min(max(ttl, 0.0), fates.LONGEST))
        kept = {"result": text.decode(errors="replace"), "finished_at": now / 1e6, "expires": expires}
        self.step.changes[keys.RESULT + item_id] = json.dumps(kept).encode()
        self.step.changes[keys.expiry(expires, item_id)] = b""

    def commit(self) -> set[int]:
        """Write it all down; the refused executions. Raises what the map raises; then nothing has ended."""
        changes = self.step.changes
        for chunk, number in self._per_chunk.items():
            if chunk.left == number:
                changes[keys.lease(chunk.first)] = None
            elif chunk in self._rewritten:
                slots = self._core.ledger.slots(chunk, self._ended)
                changes[keys.lease(chunk.first)] = ledger.encode(chunk.owner, slots)
        for execution in self._core.ledger.wished.keys() & self._ended:
            changes[keys.wish(execution)] = None
            self._conclude(execution)
        if self._ended:
            self.step.then(self._core.ledger.close, self._ended)
            self.step.commit()
        return self.refused

    def _conclude(self, execution: int) -> None:
        """A run that was asked to stop has ended, in whatever way."""
        chunk, wish = self._running[execution], self._core.ledger.wished[execution]
        outcome = _OUTCOMES[self._states.get(execution)]
        said = CancelOutcome(outcome, wish, self._core.now() / 1e6)
        self.step.then(self._core.ledger.remember, chunk.ids[execution - chunk.first], said)

    def _move(self, chunk: Chunk, at: int, fate: Fate) -> None:
        step, key, item_id = self.step, chunk.keys[at], chunk.ids[at]
        if fate.state is State.WAITING:
            step.changes[key] = fate.record
            step.then(chunk.lane.head.add, key, fate.record)
            self._retake(chunk, at)
            return
        tally = step.tally(chunk.lane)
        step.changes[key] = None
        tally[counters.READY] -= 1
        number, sequence = chunk.lane.number, keys.sequence_of(key)
        if fate.state is State.RETRYING:
            place = keys.timed(keys.DELAYED, number, fate.due, sequence)
            tally[counters.RETRYING] += 1
            tally[counters.RETRIED] += 1
            step.then(chunk.lane.delay, place)
            self._retake(chunk, at)
        elif fate.state is None:
            tally[counters.DONE] += 1
            step.changes[keys.INDEX + item_id] = None
            self._free(chunk, at)
            return
        else:
            table, depth, total = _ASIDE[fate.state]
            place = keys.timed(table, number, self._core.now(), sequence)
            tally[depth] += 1
            tally[total] += 1
            self._free(chunk, at)
        step.changes[place] = fate.record
        step.changes[keys.INDEX + item_id] = place

    def _spoiled(self, chunk: Chunk, at: int, record: bytes, reason: str) -> None:
        """The record was damaged while the item ran: dead, like every unreadable one."""
        self.step.changes[chunk.keys[at]] = None
        self.step.changes[keys.INDEX + chunk.ids[at]] = None
        self.step.tally(chunk.lane)[counters.READY] -= 1
        self.step.bury(chunk.lane, record, reason, keys.sequence_of(chunk.keys[at]))
        self._free(chunk, at)

    def _retake(self, chunk: Chunk, at: int) -> None:
        if at in chunk.uniques:
            self.step.take_key(chunk.uniques[at][0], chunk.ids[at])

    def _free(self, chunk: Chunk, at: int) -> None:
        if at in chunk.uniques:
            ukey, flags = chunk.uniques[at]
            if flags & UNTIL_FINISHED:
                self.step.free_key(ukey, chunk.ids[at])


def finish(core: Core, done: Iterable[int], endings: Iterable[Ending], max_crashes: int) -> set[int]:
    """See :meth:`~django_graceful.stores.base.StoreOwner.finish`."""
    closing = Closing(core)
    closing.done(done)
    rules = Rules(core.now(), max_crashes)
    for ending in endings:
        wish = core.ledger.wished.get(ending.execution)
        ended = closing.end(ending.execution, lambda record: fates.decide(record, ending, wish, rules))  # noqa: B023
        if ended and ending.result is not None:
            closing.result(ending.execution, ending.result, ending.result_ttl)
    return closing.commit()


def release(core: Core, executions: Sequence[int]) -> set[int]:
    """See :meth:`~django_graceful.stores.base.StoreOwner.release`."""
    closing = Closing(core)
    for execution in executions:
        wish = core.ledger.wished.get(execution)
        closing.end(execution, lambda record: fates.released(record, wish))  # noqa: B023
    return closing.commit()
