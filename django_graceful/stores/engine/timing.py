"""Schedules in the map: what is kept of each, and the tick, which decides and pushes in one write."""

from __future__ import annotations

from django_graceful.items import State
from django_graceful.stores.engine import keys
from django_graceful.stores.engine.core import Core
from django_graceful.stores.engine.desk import Desk, state_at
from django_graceful.stores.engine.taking import take_in
from django_graceful.stores.values import Planned, Tick, Ticked

_ENDED = (State.DEAD, State.CANCELLED)


class Timing:
    """Methods are those of :class:`~django_graceful.stores.base.StoreAdmin` and of the owner."""

    def __init__(self, core: Core, desk: Desk) -> None:
        self._core = core
        self._desk = desk

    def schedules(self) -> list[Planned]:
        found = []
        for key, state in self._core.kv.scan(keys.SCHEDULE, keys.beyond(keys.SCHEDULE)):
            lane = self._core.by_number.get(keys.queue_of(key))
            if lane is not None:
                run = self._core.kv.get(keys.RAN + key[1:]) or b""
                name = keys.name_in(key).decode(errors="replace")
                found.append(Planned(lane.name, name, state.decode(errors="replace"), run.decode(errors="replace")))
        return found

    def tick(self, tick: Tick) -> Ticked:
        lane = self._core.lane(tick.queue)
        key = keys.named(keys.SCHEDULE, lane.number, tick.name)
        if (self._core.kv.get(key) or b"") != tick.before.encode():
            return Ticked.CHANGED
        place = self._desk.find(tick.unless)
        if place is not None and state_at(*place) not in _ENDED:
            return Ticked.BUSY
        step = self._core.step()
        if tick.record is not None:
            depth = lane.depth
            take_in(self._core, step, lane, [tick.record])
            if tick.limit and step.depth(lane) > max(tick.limit, depth):
                return Ticked.FULL
        step.changes[key] = tick.after.encode()
        step.commit()
        return Ticked.TAKEN

    def note_run(self, queue: str, name: str, run: str) -> None:
        lane = self._core.lane(queue)
        self._core.kv.write({keys.named(keys.RAN, lane.number, name): run.encode()}, sync=False)
