"""What all parts of the engine share: the map, the lanes, the ledger, and the *step*, which is one atomic write.

A step collects changes to the map and, apart from them, what is to change in memory. Reading through the step sees its
own changes. :meth:`Step.commit` writes, and only when that worked does the memory follow: a step that raised changed
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from django_graceful.exceptions import StoreError
from django_graceful.items import HEADER, micros, new_id
from django_graceful.stores.engine import counters, keys, records
from django_graceful.stores.engine.kv import KV
from django_graceful.stores.engine.lanes import Lane
from django_graceful.stores.engine.ledger import Ledger
from django_graceful.stores.engine.ports import Board

#: Sequence numbers are reserved that many at a time.
_RESERVE: Final = 1 << 20
#: Items that are changed in one write when all of a state are meant.
BATCH: Final = 1000


class Core:
    """The owner's state. Loading it changes nothing in the map."""

    def __init__(self, kv: KV, clock: Callable[[], float], *, sync: bool, board: Board | None) -> None:
        self.kv = kv
        self.clock = clock
        self.sync = sync
        self.board = board
        self.lanes: dict[str, Lane] = {}
        self.by_number: dict[int, Lane] = {}
        self.ledger = Ledger()
        self._next = self._reserved = 0
        self.reload()

    def reload(self) -> None:
        """Forget what memory holds of the map, except what runs, and read it again."""
        self._next = self._reserved = keys.read_u64(self.kv.get(keys.SEQUENCE))
        old = self.by_number
        self.lanes, self.by_number = {}, {}
        for key, name in self.kv.scan(keys.NAME, keys.beyond(keys.NAME)):
            lane = self._adopt(name.decode(errors="replace"), keys.queue_of(key))
            if lane.number in old:
                self._keep_running(old[lane.number], lane)
            self.show(lane)

    def now(self) -> int:
        """The time in µs."""
        return micros(self.clock())

    def step(self) -> Step:
        """A new step, which changes nothing until it is committed."""
        return Step(self)

    def lane(self, queue: str) -> Lane:
        """The lane of that queue; a queue that was never seen gets one, and a number, at once."""
        found = self.lanes.get(queue)
        if found is not None:
            return found
        number = max(self.by_number, default=0) + 1
        if number > 0xFFFF:
            raise StoreError(f"queue {queue!r} is one too many: a store has room for 65535 names")
        self.kv.write({keys.numbered(keys.NAME, number): queue.encode(errors="replace")}, sync=self.sync)
        lane = self._adopt(queue, number)
        lane.head.beyond = None  # nothing of it can be on disk
        return lane

    @property
    def next_sequence(self) -> int:
        """The sequence number that the next push gets, or a later one: all that is in the store has a smaller one."""
        return self._next

    def reserve(self, step: Step, count: int) -> int:
        """The first of ``count`` sequence numbers that nobody else gets."""
        first = self._next
        self._next += count
        if self._next > self._reserved:
            reserved = self._next + _RESERVE
            step.changes[keys.SEQUENCE] = keys.u64(reserved)
            step.then(self._set_reserved, reserved)
        return first

    def items(self, table: bytes, lane: Lane, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """The items of one queue in one table, in order, from ``start`` on."""
        prefix = lane.prefix(table)
        return self.kv.scan(max(prefix, start), keys.beyond(prefix))

    def set_aside(self, lane: Lane, key: bytes, raw: bytes, reason: str) -> None:
        """What is stored at ``key``, waiting or delayed, can not be read: dead, with the reason, bytes untouched."""
        step = self.step()
        tally = step.tally(lane)
        step.changes[key] = None
        tally[counters.READY if key.startswith(keys.READY) else records.delayed_as(raw)] -= 1
        item_id = step.bury(lane, raw, reason, keys.sequence_of(key))
        step.free_key(records.unique_key(lane.number, raw), item_id)
        step.then(lane.forget, key)
        step.then(lane.undelay, key)
        step.commit()

    def show(self, lane: Lane) -> None:
        """Let producers see how deep the queue is."""
        if self.board is not None:
            self.board.set_depth(lane.name, lane.depth)

    def _set_reserved(self, reserved: int) -> None:
        self._reserved = reserved

    def _adopt(self, name: str, number: int) -> Lane:
        tally = counters.unpack(self.kv.get(keys.numbered(keys.COUNTERS, number)))
        paused = self.kv.get(keys.numbered(keys.PAUSED, number)) is not None
        lane = self.lanes[name] = self.by_number[number] = Lane(name, number, tally, paused=paused)
        return lane

    def _keep_running(self, old: Lane, lane: Lane) -> None:
        lane.running = old.running
        lane.out = {key: execution for key, execution in old.out.items() if execution}
        for execution in lane.out.values():
            self.ledger.running[execution].lane = lane


class Step:
    """One atomic write in the making. Throwing it away is all it takes to change nothing."""

    __slots__ = ("_core", "_tallies", "_then", "changes")

    def __init__(self, core: Core) -> None:
        self._core = core
        self.changes: dict[bytes, bytes | None] = {}
        self._tallies: dict[Lane, counters.Tally] = {}
        self._then: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []

    def get(self, key: bytes) -> bytes | None:
        """The value of ``key`` as it will be."""
        return self.changes[key] if key in self.changes else self._core.kv.get(key)

    def tally(self, lane: Lane) -> counters.Tally:
        """The lane's numbers as they will be, to be changed in place."""
        found = self._tallies.get(lane)
        if found is None:
            found = self._tallies[lane] = lane.tally[:]
        return found

    def depth(self, lane: Lane) -> int:
        """How many items will wait in any way."""
        return lane.depth_of(self.tally(lane))

    def then(self, function: Callable[..., Any], *args: Any) -> None:
        """Call this when the write has worked."""
        self._then.append((function, args))

    def commit(self) -> None:
        """Write, then let the memory follow. Raises what the map raises; nothing has changed then."""
        core = self._core
        for lane, tally in self._tallies.items():
            self.changes[lane.prefix(keys.COUNTERS)] = counters.pack(tally, lane.name)
        if self.changes:
            core.kv.write(self.changes, sync=core.sync)
        for lane, tally in self._tallies.items():
            lane.tally = tally
        for function, args in self._then:
            function(*args)
        for lane in self._tallies:
            core.show(lane)

    def take_key(self, ukey: bytes, item_id: bytes) -> None:
        """A unique item waits: the key is its own if nobody else has it."""
        if ukey and self.get(ukey) is None:
            self.changes[ukey] = item_id

    def free_key(self, ukey: bytes, item_id: bytes) -> None:
        """A unique item has no use for its key any more; somebody else's stays."""
        if ukey and self.get(ukey) == item_id:
            self.changes[ukey] = None

    def wait(self, lane: Lane, record: bytes, sequence: int, now: int) -> None:
        """An item waits: delayed when its time is after ``now``, else ready, in the place of its push."""
        header = HEADER.unpack_from(record)
        priority, not_before, item_id = header[2], header[8], header[9]
        tally = self.tally(lane)
        if not_before > now:
            key = keys.timed(keys.DELAYED, lane.number, not_before, sequence)
            tally[records.delayed_as(record)] += 1
            self.then(lane.delay, key)
        else:
            key = keys.ready(lane.number, priority, sequence)
            tally[counters.READY] += 1
            self.then(lane.head.add, key, record)
        self.changes[key] = record
        self.changes[keys.INDEX + item_id] = key

    def bury(self, lane: Lane, raw: bytes, reason: str, sequence: int) -> bytes:
        """Keep unreadable bytes as a dead item; its id."""
        now = self._core.now()
        sealed = records.envelope(raw, reason, now)
        holder = self.get(keys.INDEX + sealed.id)
        if holder is not None and keys.sequence_of(holder) != sequence:
            sealed = records.Envelope(new_id(), now, reason, raw)
        key = keys.timed(keys.DEAD, lane.number, now, sequence)
        self.changes[key] = sealed.seal()
        self.changes[keys.INDEX + sealed.id] = key
        tally = self.tally(lane)
        tally[counters.DEAD] += 1
        tally[counters.DIED] += 1
        return sealed.id
