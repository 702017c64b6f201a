"""The desk: orders of people. Retry, discard, pause; and removing, for :mod:`.cancelling`. Each item is one write.

An order for all items of a state is carried out in stretches, so a very long one is several writes; a crash between two
leaves the rest as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from django_graceful.items import State
from django_graceful.stores.engine import counters, keys, records
from django_graceful.stores.engine.core import BATCH, Core, Step
from django_graceful.stores.engine.lanes import PARKED, Lane
from django_graceful.stores.engine.taking import holder
from django_graceful.stores.values import item_id

#: Where the items of a state are. Running ones are a part of the waiting ones' table.
TABLES: Final = {
    State.WAITING: keys.READY,
    State.RUNNING: keys.READY,
    State.SCHEDULED: keys.DELAYED,
    State.RETRYING: keys.DELAYED,
    State.DEAD: keys.DEAD,
    State.CANCELLED: keys.CANCELLED,
}
#: The number that counts an item in the other tables.
_NUMBER: Final = {keys.READY: counters.READY, keys.DEAD: counters.DEAD, keys.CANCELLED: counters.CANCELLED}
#: Where items are that were set aside; a retry finds them there.
ASIDE: Final = (State.DEAD, State.CANCELLED)

#: One item: its lane, its key, what is stored there.
Place = tuple[Lane, bytes, bytes]


def state_at(lane: Lane, key: bytes, value: bytes) -> State:
    """The state of an item from where it is."""
    table = key[:1]
    if table == keys.READY:
        return State.RUNNING if lane.out.get(key, PARKED) != PARKED else State.WAITING
    if table == keys.DELAYED:
        return State.RETRYING if records.delayed_as(value) == counters.RETRYING else State.SCHEDULED
    return State.DEAD if table == keys.DEAD else State.CANCELLED


class Desk:
    """Orders. Methods are those of :class:`~django_graceful.stores.base.StoreAdmin`."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def find(self, text: str) -> Place | None:
        """The item of this id and where it is."""
        wanted = item_id(text)
        key = self._core.kv.get(keys.INDEX + wanted) if wanted else None
        lane = self._core.by_number.get(keys.queue_of(key)) if key is not None else None
        value = self._core.kv.get(key) if key is not None else None
        return (lane, key, value) if lane is not None and key is not None and value is not None else None

    def places(self, lane: Lane, state: State, start: bytes = b"") -> Iterator[Place]:
        """The items of one state, in the order of their keys, from ``start`` on."""
        table = TABLES[state]
        if table == keys.READY:
            front = lane.front()
            if front is None:
                return
            start = max(start, front)
        for key, value in self._core.items(table, lane, start):
            if state_at(lane, key, value) is state:
                yield lane, key, value

    def retry(self, queue: str, ids: Sequence[str] | None) -> int:
        return sum(self._each(queue, (State.DEAD,), ASIDE, ids, self._revive))

    def discard(self, queue: str, state: State, ids: Sequence[str] | None) -> int:
        return 0 if state is State.RUNNING else sum(self._each(queue, (state,), (state,), ids, self._discard))

    def pause(self, queue: str) -> None:
        lane = self._core.lane(queue)
        self._core.kv.write({lane.prefix(keys.PAUSED): b""}, sync=self._core.sync)
        lane.paused = True

    def resume(self, queue: str) -> None:
        lane = self._core.lane(queue)
        self._core.kv.write({lane.prefix(keys.PAUSED): None}, sync=self._core.sync)
        lane.paused = False

    def _each(
        self,
        queue: str,
        all_of: Iterable[State],
        named: Sequence[State],
        ids: Sequence[str] | None,
        order: Callable[[Step, Place], bool],
    ) -> Iterator[bool]:
        """Carry out ``order`` on every item of the states ``all_of``, or on those of ``ids`` that are in ``named``."""
        lane = self._core.lanes.get(queue)
        if lane is None:
            return
        found: Iterator[Place]
        if ids is None:
            found = (place for state in all_of for place in self.places(lane, state))
        else:
            known = (self.find(text) for text in dict.fromkeys(ids))
            found = (at for at in known if at is not None and at[0] is lane and state_at(*at) in named)
        while batch := list(islice(found, BATCH)):
            step = self._core.step()
            results = [order(step, place) for place in batch]
            step.commit()
            yield from results

    def _discard(self, step: Step, place: Place) -> bool:
        lane, key, value = place
        self.remove(step, lane, key, value)
        if key[:1] in (keys.READY, keys.DELAYED):
            step.tally(lane)[counters.DISCARDED] += 1
        found = records.id_of(value)
        if step.get(keys.INDEX + found) == key:
            step.changes[keys.INDEX + found] = None
        return True

    def _revive(self, step: Step, place: Place) -> bool:
        lane, key, value = place
        sealed = records.unseal(value)
        raw = value if sealed is None else sealed.raw
        if records.fault(raw):
            return False
        own = raw[records.ID]
        other = step.get(keys.INDEX + own)
        if other is not None and other != key:
            return False
        step.changes[keys.INDEX + records.id_of(value)] = None
        self.remove(step, lane, key, value)
        ukey = records.unique_key(lane.number, raw)
        if not holder(step, ukey):
            if ukey:
                step.changes[ukey] = own
            now = self._core.now()
            step.wait(lane, records.revived(raw, now), keys.sequence_of(key), now)
            step.tally(lane)[counters.DIED if key.startswith(keys.DEAD) else counters.STOPPED] -= 1
        return True

    def remove(self, step: Step, lane: Lane, key: bytes, value: bytes) -> None:
        """Take an item that does not run from its table; its unique key is free."""
        table = key[:1]
        step.changes[key] = None
        step.tally(lane)[records.delayed_as(value) if table == keys.DELAYED else _NUMBER[table]] -= 1
        if table == keys.READY:
            step.then(lane.forget, key)
        elif table == keys.DELAYED:
            step.then(lane.undelay, key)
        if table in (keys.READY, keys.DELAYED):
            step.free_key(records.unique_key(lane.number, value), value[records.ID])
