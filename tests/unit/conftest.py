"""Fixtures of the declarative part: no store on disk, no process, no clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from django_graceful import pushing, queues
from django_graceful.exceptions import QueueFull
from django_graceful.items import Item, decode_item, id_of

# A busy machine is no failure.
settings.register_profile("unit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unit")


class FakeStore:
    """Keeps what is pushed; says "full" as often as told; answers other ids than the pushed ones when given some."""

    def __init__(self) -> None:
        self.pushes: list[tuple[str, list[bytes], int]] = []
        self.full = 0
        self.answer: list[bytes] | None = None

    def push(self, queue: str, records: Sequence[bytes], limit: int = 0) -> list[bytes]:
        if self.full:
            self.full -= 1
            raise QueueFull("no room")
        self.pushes.append((queue, list(records), limit))
        return self.answer or [id_of(record) for record in records]

    @property
    def items(self) -> list[Item]:
        return [decode_item(queue, record) for queue, records, _ in self.pushes for record in records]

    @property
    def item(self) -> Item:
        [found] = self.items
        return found


class FakeClock:
    """Stands for the ``time`` module: sleeping takes no time and is written down."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def time_ns(self) -> int:
        return int(self.now * 1e9)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> FakeStore:
    """What every queue pushes to in this test."""
    found = FakeStore()
    monkeypatch.setattr(pushing, "get_store", lambda alias: found)
    return found


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """The time as pushing sees it."""
    found = FakeClock()
    monkeypatch.setattr(pushing, "time", found)
    return found


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """No queue is declared but those of the test."""
    found: dict[str, Any] = {}
    monkeypatch.setattr(queues, "_registry", found)
    return found
