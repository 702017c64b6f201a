"""What the owner answers to others: every method takes the inbox in first, so whoever asks sees what they pushed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from django_graceful.items import State
from django_graceful.stores.admin import StoreAdmin
from django_graceful.stores.engine import checkup
from django_graceful.stores.engine.cancelling import Cancelling
from django_graceful.stores.engine.core import Core
from django_graceful.stores.engine.desk import Desk
from django_graceful.stores.engine.handovers import Handovers
from django_graceful.stores.engine.keeping import Housekeeping
from django_graceful.stores.engine.leasing import Leasing
from django_graceful.stores.engine.timing import Timing
from django_graceful.stores.engine.views import Views
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


class Served(StoreAdmin):
    """The admin's face of the engine, by the parts that carry it out."""

    _core: Core
    _desk: Desk
    _cancelling: Cancelling
    _views: Views
    _keeping: Housekeeping
    _handovers: Handovers
    _leasing: Leasing
    _timing: Timing

    @abstractmethod
    def _take_in_all(self) -> None:
        """Take the whole inbox in."""

    def counts(self) -> dict[str, Counts]:
        self._take_in_all()
        return self._views.counts()

    def get(self, item_id: str) -> Found | None:
        self._take_in_all()
        return self._views.get(item_id)

    def has(self, queue: str, key: str) -> bool:
        self._take_in_all()
        return self._views.has(queue, key)

    def page(self, queue: str, state: State, after: str | None = None, limit: int = 100) -> Page:
        self._take_in_all()
        return self._views.page(queue, state, after, limit)

    def retry(self, queue: str, ids: Sequence[str] | None = None) -> int:
        self._take_in_all()
        return self._desk.retry(queue, ids)

    def discard(self, queue: str, state: State, ids: Sequence[str] | None = None) -> int:
        self._take_in_all()
        return self._desk.discard(queue, state, ids)

    def request_cancel(self, item_id: str, by: str = "", reason: str = "") -> CancelReply:
        self._take_in_all()
        return self._cancelling.request_cancel(item_id, by, reason)

    def cancel_some(
        self, queue: str, key: str | None = None, by: str = "", reason: str = "", *, before: int | None = None
    ) -> CancelCount:
        self._take_in_all()
        return self._cancelling.cancel_some(queue, key, by, reason, before=before)

    def cancel_outcome(self, item_id: str) -> CancelOutcome | None:
        return self._cancelling.cancel_outcome(item_id)

    def pause(self, queue: str) -> None:
        self._desk.pause(queue)

    def resume(self, queue: str) -> None:
        self._desk.resume(queue)

    def result(self, item_id: str) -> dict[str, Any] | None:
        return self._views.result(item_id)

    def schedules(self) -> list[Planned]:
        return self._timing.schedules()

    def tick(self, tick: Tick) -> Ticked:
        return self._timing.tick(tick)

    def forget_handovers(self, age: float) -> int:
        self._take_in_all()
        return self._handovers.forget(age)

    def check(self) -> list[Problem]:
        self._take_in_all()
        return checkup.check(self._core.kv, self._core.now())

    def repair(self) -> list[Problem]:
        self._take_in_all()
        problems = checkup.repair(self._core.kv, self._core.now())
        self._core.reload()
        self._leasing.load_heads()
        return problems
