"""Orders that meet a store in motion: what has changed between the look and the order is looked at again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from django_graceful.items import UNIQUE, Outcome, State
from django_graceful.stores.base import CancelCount, CancelReply, Ending
from django_graceful.stores.redis.line import Line
from django_graceful.stores.redis.owner import LEASE_SECONDS
from tests.redis.kit import RedisKit
from tests.stores.kit import payload


@pytest.fixture
def before(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[], object]], None]:
    """Let something happen right before the next call of a script."""

    def happen(name: str, act: Callable[[], object]) -> None:
        acts = [act]

        def run(self: Line, called: str, *args: Any, **kwargs: Any) -> Any:
            if called == name and acts:
                acts.pop()()
            return real(self, called, *args, **kwargs)

        monkeypatch.setattr(Line, "run", run)

    real = Line.run
    return happen


def state_of(kit: RedisKit, item_id: str) -> State | None:
    found = kit.owner.get(item_id)
    return found.state if found is not None else None


def test_an_item_that_begins_to_run_while_it_is_cancelled_is_asked(kit: RedisKit, before: Any) -> None:
    (item_id,) = kit.push("x")
    before("change", kit.take)
    assert kit.owner.request_cancel(item_id) is CancelReply.ASKED
    assert len(kit.owner.wishes()) == 1


def test_an_item_that_comes_back_while_it_is_asked_is_cancelled(kit: RedisKit, before: Any) -> None:
    (item_id,) = kit.push("x")
    lease = kit.take()
    before("ask", lambda: kit.end(lease, Outcome.CRASHED))
    assert kit.owner.request_cancel(item_id) is CancelReply.CANCELLED
    found = kit.owner.get(item_id)
    assert found is not None
    assert (found.state, found.item.crashes) == (State.CANCELLED, 1)


def test_an_item_that_is_done_while_it_is_asked_is_unknown(kit: RedisKit, before: Any) -> None:
    (item_id,) = kit.push("x")
    lease = kit.take()
    before("ask", lambda: kit.done(lease))
    assert kit.owner.request_cancel(item_id) is CancelReply.UNKNOWN


def test_of_many_to_cancel_those_that_begin_to_run_are_asked(kit: RedisKit, before: Any) -> None:
    kit.push(*range(5))
    before("change", lambda: kit.lease(2))
    assert kit.owner.cancel_all("q") == CancelCount(3, 2)


def test_an_item_that_was_retried_and_died_again_meanwhile_is_retried_as_it_is_now(kit: RedisKit, before: Any) -> None:
    (item_id,) = kit.push("x")
    kit.end(kit.take(), Outcome.DEAD, error={"type": "first"})

    def again() -> None:
        kit.owner.retry("q")
        kit.end(kit.take(), Outcome.DEAD, error={"type": "second"})

    before("change", again)
    assert kit.owner.retry("q") == 1
    found = kit.owner.get(item_id)
    assert found is not None
    assert (found.state, found.item.attempt) == (State.WAITING, 0)
    assert [error["type"] for error in found.item.errors] == ["first", "second"]
    assert kit.owner.check() == []


def test_an_item_that_somebody_discarded_meanwhile_is_not_retried(kit: RedisKit, before: Any) -> None:
    kit.push(1, 2)
    for lease in kit.lease(2):
        kit.end(lease, Outcome.DEAD)
    ids = [at.item.id for at in kit.owner.page("q", State.DEAD).items]
    before("change", lambda: kit.owner.discard("q", State.DEAD, ids[:1]))
    assert kit.owner.retry("q") == 1
    assert kit.drain() == [2]


def test_a_waiting_item_that_begins_to_run_is_not_discarded(kit: RedisKit, before: Any) -> None:
    kit.push(1, 2)
    before("change", kit.take)
    assert kit.owner.discard("q", State.WAITING) == 1
    assert kit.counts().running == 1
    assert kit.owner.check() == []


def test_a_wish_that_comes_while_a_run_ends_decides_its_fate(kit: RedisKit, before: Any) -> None:
    retried, crashed, dead, done = kit.push(*range(4))
    leases = kit.lease(4)
    outcomes = (Outcome.RETRY, Outcome.CRASHED, Outcome.DEAD)
    endings = [Ending(lease.execution, outcome) for lease, outcome in zip(leases, outcomes, strict=False)]
    desk = kit.store.own(seat="the desk of another process")
    before("end", lambda: desk.cancel_all("q", by="eve"))
    assert kit.owner.finish([leases[3].execution], endings) == set()
    states = [state_of(kit, item_id) for item_id in (retried, crashed, dead, done)]
    assert states == [State.CANCELLED, State.CANCELLED, State.DEAD, None]
    told = [kit.owner.cancel_outcome(item_id) for item_id in (retried, crashed, dead, done)]
    assert [found.outcome for found in told if found] == [
        Outcome.CANCELLED,
        Outcome.CANCELLED,
        Outcome.DEAD,
        Outcome.DONE,
    ]
    assert kit.owner.check() == []


def test_an_execution_that_is_ended_twice_in_one_call_ends_the_first_way(kit: RedisKit) -> None:
    kit.push(1, 2)
    first, second = (lease.execution for lease in kit.lease(2))
    endings = [Ending(first, Outcome.DEAD), Ending(first, Outcome.RETRY), Ending(second, Outcome.DEAD)]
    assert kit.owner.finish([second], endings) == {first, second}
    assert (kit.counts().dead, kit.counts().done, kit.counts().retrying) == (1, 1, 0)


def test_a_lease_that_is_renewed_while_it_is_about_to_be_taken_away_stays(kit: RedisKit, before: Any) -> None:
    kit.push("slow")
    lease = kit.take()
    other = kit.store.own(seat="another host")
    kit.clock.now += LEASE_SECONDS
    before("end", lambda: kit.owner.renew([lease.execution]))
    other.prepare()
    assert other.notices == []
    assert other.lease("q", 1, "w1") == []
    kit.done(lease)


def test_pushes_of_one_key_from_many_threads_make_one_item(kit: RedisKit) -> None:
    answers: list[str] = []

    def push() -> None:
        for _ in range(50):
            answers.extend(found.hex() for found in kit.store.push("q", [kit.record("x", key="k", flags=UNIQUE)]))

    threads = [threading.Thread(target=push) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(answers)) == 1
    assert (kit.counts().pushed, kit.counts().duplicates) == (1, 199)
    assert [payload(lease) for lease in kit.lease(5)] == ["x"]


def test_a_limit_holds_against_many_threads(kit: RedisKit) -> None:
    from django_graceful.exceptions import QueueFull

    refused = []

    def push() -> None:
        for _ in range(30):
            try:
                kit.store.push("q", [kit.record("x")], 50)
            except QueueFull as error:
                refused.append(error)

    threads = [threading.Thread(target=push) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kit.counts().waiting == 50
    assert len(refused) == 70
