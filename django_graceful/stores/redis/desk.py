"""The desk of a redis store: questions and orders, for any process, with no runner. Every call asks the server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django_graceful.items import State, micros
from django_graceful.stores.admin import StoreAdmin
from django_graceful.stores.engine.handovers import STRETCH
from django_graceful.stores.redis import checkup, timing
from django_graceful.stores.redis.line import Line
from django_graceful.stores.redis.orders import Orders
from django_graceful.stores.redis.views import Views
from django_graceful.stores.values import (
    CancelCount,
    CancelOutcome,
    CancelReply,
    Counts,
    Found,
    Page,
    Planned,
    Problem,
    Tick,
    Ticked,
)


class RedisDesk(StoreAdmin):
    """See :class:`~django_graceful.stores.base.StoreAdmin`. Any thread may use it."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self._views = Views(line)
        self._orders = Orders(line, self._views, self.changed)

    def changed(self, queue: str) -> None:
        """An order given here has changed something of that queue."""

    def counts(self) -> dict[str, Counts]:
        return self._views.counts()

    def get(self, item_id: str) -> Found | None:
        return self._views.get(item_id)

    def has(self, queue: str, key: str) -> bool:
        return self._views.has(queue, key)

    def page(self, queue: str, state: State, after: str | None = None, limit: int = 100) -> Page:
        return self._views.page(queue, state, after, limit)

    def retry(self, queue: str, ids: Sequence[str] | None = None) -> int:
        return self._orders.retry(queue, ids)

    def discard(self, queue: str, state: State, ids: Sequence[str] | None = None) -> int:
        return self._orders.discard(queue, state, ids)

    def request_cancel(self, item_id: str, by: str = "", reason: str = "") -> CancelReply:
        return self._orders.request_cancel(item_id, by, reason)

    def cancel_some(
        self, queue: str, key: str | None = None, by: str = "", reason: str = "", *, before: int | None = None
    ) -> CancelCount:
        return self._orders.cancel_some(queue, key, by, reason, before)

    def cancel_outcome(self, item_id: str) -> CancelOutcome | None:
        return self._views.cancel_outcome(item_id)

    def pause(self, queue: str) -> None:
        self.line.run("pause", queue, self.line.channel, self.line.register(queue), b"1")
        self.changed(queue)

    def resume(self, queue: str) -> None:
        self.line.run("pause", queue, self.line.channel, self.line.register(queue), b"")
        self.changed(queue)

    def result(self, item_id: str) -> dict[str, Any] | None:
        return self._views.result(item_id)

    def schedules(self) -> list[Planned]:
        return timing.schedules(self.line)

    def tick(self, tick: Tick) -> Ticked:
        said = timing.tick(self.line, tick)
        self.changed(tick.queue)
        return said

    def forget_handovers(self, age: float) -> int:
        return sum(self.line.each_queue("forget", micros(age), STRETCH).values())

    def check(self) -> list[Problem]:
        return checkup.check(self.line)

    def repair(self) -> list[Problem]:
        return checkup.repair(self.line)
