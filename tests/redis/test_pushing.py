"""The quick way of a single push does what the general one does."""

from __future__ import annotations

from typing import Any

import pytest

from django_graceful.exceptions import QueueFull
from django_graceful.items import RUN_ONCE, UNIQUE, Outcome
from django_graceful.stores.redis.line import Line
from tests.redis.kit import RedisKit


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The scripts that are called from now on."""

    def run(self: Line, name: str, queue: str, *args: Any, **kwargs: Any) -> Any:
        found.append(name)
        return real(self, name, queue, *args, **kwargs)

    found: list[str] = []
    real = Line.run
    monkeypatch.setattr(Line, "run", run)
    return found


def test_a_plain_record_takes_the_quick_way_once_the_queue_is_known(kit: RedisKit, called: list[str]) -> None:
    kit.push("first of all")
    assert called == ["push_one", "push", "push"]
    called.clear()
    kit.push("x")
    kit.push("once", flags=RUN_ONCE)
    kit.push("urgent", priority=100)
    kit.push("idle", priority=-100, limit=5)
    assert called == ["push_one"] * 4
    assert kit.drain() == ["urgent", "first of all", "x", "once", "idle"]
    assert kit.counts().pushed == 5


@pytest.mark.parametrize("fields", [{"delay": 1}, {"key": "k"}, {"key": "k", "flags": UNIQUE}, {"meta": b"{}"}])
def test_what_needs_more_care_takes_the_other(kit: RedisKit, called: list[str], fields: dict[str, Any]) -> None:
    kit.push("x")
    called.clear()
    kit.push("y", **fields)
    assert called == ["push"]


def test_a_record_that_is_there_already_is_not_stored_again(kit: RedisKit, called: list[str]) -> None:
    kit.push("first")
    record = kit.record("x")
    answers = {kit.owner.push("q", [record], limit)[0] for limit in (0, 9, 1, 0)}
    assert len(answers) == 1
    assert called.count("push_one") == 5
    lease = kit.lease(1)[0]
    kit.owner.push("q", [lease.record])
    assert (kit.counts().pushed, kit.counts().duplicates, kit.counts().waiting) == (2, 4, 1)
    kit.done(lease)
    assert kit.drain() == ["x"]
    assert kit.owner.check() == []


def test_the_limit_is_exact_and_what_runs_or_is_dead_takes_no_room(kit: RedisKit) -> None:
    kit.push(1, limit=3)
    kit.push(2, limit=3)
    kit.push(3, limit=3)
    with pytest.raises(QueueFull, match="'q': 3 items wait, 3 may"):
        kit.push(4, limit=3)
    kit.take()
    kit.push(4, limit=3)
    with pytest.raises(QueueFull):
        kit.push(5, limit=3)
    assert kit.drain() == [2, 3, 4]


@pytest.mark.parametrize("count", [1, 2])
def test_whatever_waits_takes_room(kit: RedisKit, count: int) -> None:
    kit.push("runs", key="k", flags=UNIQUE)
    kit.push("retries")
    running, retried = kit.lease(2)
    kit.end(retried, Outcome.RETRY, delay=50)
    kit.push("passed over", key="k", flags=UNIQUE)
    assert kit.lease(1) == []
    kit.push("scheduled", delay=50)
    kit.push("waits")
    with pytest.raises(QueueFull, match="'q': 4 items wait"):
        kit.push(*range(count), limit=3 + count)
    kit.push(*range(count), limit=4 + count)
    kit.done(running)


@pytest.mark.parametrize("count", [1, 2])
def test_ids_go_by_their_queue(kit: RedisKit, count: int) -> None:
    records = [kit.record(n) for n in range(count)]
    kit.push("x", queue="other")
    assert kit.owner.push("q", records) == kit.owner.push("other", records)
    assert len(kit.drain("other")) == 1 + count
