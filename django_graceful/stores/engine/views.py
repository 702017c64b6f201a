"""Looking: counts, pages, one item, a result. Nothing here changes anything, and nothing here raises for bad data."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

from django_graceful.items import HEADER, State
from django_graceful.stores.engine import keys, records
from django_graceful.stores.engine.core import Core
from django_graceful.stores.engine.desk import Desk, Place, state_at
from django_graceful.stores.engine.lanes import Lane
from django_graceful.stores.engine.taking import holder
from django_graceful.stores.values import Counts, Found, Page, item_id

#: Where the priority ends in the key of a ready item.
_PRIORITY = 5
#: What is shown of a wish.
_WISH = ("by", "reason", "asked_at", "stopping_at", "killed_at")


class Views:
    """Questions. Methods are those of :class:`~django_graceful.stores.base.StoreAdmin`."""

    def __init__(self, core: Core, desk: Desk) -> None:
        self._core = core
        self._desk = desk

    def counts(self) -> dict[str, Counts]:
        return {name: self._count(lane) for name, lane in self._core.lanes.items()}

    def get(self, text: str) -> Found | None:
        place = self._desk.find(text)
        return None if place is None else self._found(place)

    def has(self, queue: str, key: str) -> bool:
        lane = self._core.lanes.get(queue)
        return lane is not None and bool(
            holder(self._core.step(), keys.unique(lane.number, key.encode(errors="replace")))
        )

    def page(self, queue: str, state: State, after: str | None, limit: int) -> Page:
        lane = self._core.lanes.get(queue)
        if lane is None or limit < 1:
            return Page([])
        try:
            start = bytes.fromhex(after or "")
        except ValueError:
            start = b""
        found: list[Place] = []
        for place in self._listed(lane, state, start):
            if len(found) == limit:
                return Page([self._found(at) for at in found], self._mark(state, found[-1]))
            found.append(place)
        return Page([self._found(at) for at in found])

    def result(self, text: str) -> dict[str, Any] | None:
        wanted = item_id(text)
        value = self._core.kv.get(keys.RESULT + wanted) if wanted else None
        if value is None:
            return None
        try:
            kept = json.loads(value)
            expired = kept.pop("expires") <= self._core.now()
        except (ValueError, LookupError, TypeError, AttributeError):
            return None
        return None if expired else kept

    def _listed(self, lane: Lane, state: State, start: bytes) -> Iterator[Place]:
        """The items of a state that follow the mark ``start``. Running ones go by their execution."""
        if state is not State.RUNNING:
            yield from self._desk.places(lane, state, start + b"\0" if start else b"")
            return
        for execution, key in sorted((execution, key) for key, execution in lane.out.items() if execution):
            value = self._core.kv.get(key)
            if value is not None and keys.u64(execution) > start:
                yield lane, key, value

    def _mark(self, state: State, place: Place) -> str:
        lane, key, _ = place
        return keys.u64(lane.out[key]).hex() if state is State.RUNNING else key.hex()

    def _found(self, place: Place) -> Found:
        lane, key, value = place
        state = state_at(lane, key, value)
        item, detail = records.describe(lane.name, value)
        if state is State.RUNNING:
            execution = lane.out[key]
            chunk = self._core.ledger.running[execution]
            detail = {"execution": execution, "owner": chunk.owner, "since": chunk.at / 1e6}
            wish = self._core.ledger.wished.get(execution)
            if wish is not None:
                detail["cancel"] = {name: getattr(wish, name) for name in _WISH}
        elif state is not State.WAITING:
            names = {State.DEAD: "died_at", State.CANCELLED: "cancelled_at"}
            detail[names.get(state, "due")] = keys.time_of(key) / 1e6
        return Found(item, state, detail)

    def _count(self, lane: Lane) -> Counts:
        _, scheduled, retrying, dead, cancelled, *totals = lane.tally
        oldest = min(self._pushed(lane), default=None)
        return Counts(
            lane.waiting,
            scheduled,
            retrying,
            lane.running,
            dead,
            cancelled,
            None if oldest is None else max(0.0, (self._core.now() - oldest) / 1e6),
            lane.paused,
            *totals,
        )

    def _pushed(self, lane: Lane) -> Iterator[int]:
        """When (µs) the waiting items were pushed among which the oldest is: the first of each priority."""
        for passed_over in lane.parked.values():
            yield from (_pushed_at(record) for _, record in passed_over)
        entries = lane.head.entries
        at = 0
        while at < len(entries):
            key, record = entries[at]
            yield _pushed_at(record)
            at = bisect_left(entries, (keys.beyond(key[:_PRIORITY]),))
        start = lane.head.beyond
        while start is not None:
            found = (entry for entry in self._core.items(keys.READY, lane, start) if entry[0] not in lane.out)
            key, record = next(found, (b"", b""))
            if key:
                yield _pushed_at(record)
            start = keys.beyond(key[:_PRIORITY]) if key else None


def _pushed_at(record: bytes) -> int:
    return int(HEADER.unpack_from(record)[7]) if len(record) >= HEADER.size else 1 << 62
