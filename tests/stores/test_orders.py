"""The contract of stores: orders: retry, discard, cancel, pause, and the sweep. Every kind of store must pass."""

from __future__ import annotations

import pytest

from django_graceful.items import Outcome, State
from django_graceful.stores.base import CancelReply, Counts, Ending, Wish
from tests.stores.kit import START, Kit

WEEK = 7 * 86400


def live(counts: Counts) -> int:
    return counts.waiting + counts.scheduled + counts.retrying + counts.running


def conserved(counts: Counts) -> bool:
    return counts.pushed == counts.done + counts.died + counts.stopped + counts.discarded + live(counts)


def test_retrying_all_brings_back_the_dead_and_leaves_the_cancelled(kit: Kit) -> None:
    dead, gone = kit.push("dead", "cancelled")
    first, second = kit.lease(2)
    kit.end(first, Outcome.DEAD, error={"type": "E", "message": "m"}, reason="why", by="who")
    kit.end(second, Outcome.CANCELLED)
    assert kit.owner.retry("q") == 1
    found = kit.owner.get(dead)
    assert found is not None
    assert (found.state, found.item.attempt, found.item.crashes, found.detail) == (State.WAITING, 0, 0, {})
    assert [error["message"] for error in found.item.errors] == ["m"]
    assert kit.owner.retry("q", [gone, gone]) == 1
    assert kit.drain() == ["dead", "cancelled"]


def test_a_retried_item_waits_in_the_place_of_its_push(kit: Kit) -> None:
    kit.push("dead")
    kit.end(kit.take(), Outcome.DEAD)
    kit.push("younger")
    kit.owner.retry("q")
    assert kit.drain() == ["dead", "younger"]


def test_a_cancelled_delayed_item_that_is_retried_waits_for_its_time(kit: Kit) -> None:
    (item_id,) = kit.push("tomorrow", delay=86400)
    kit.owner.request_cancel(item_id)
    assert kit.owner.retry("q", [item_id]) == 1
    assert kit.drain() == []
    kit.clock.now += 86400
    assert kit.drain() == ["tomorrow"]


def test_a_cancelled_retrying_item_that_is_retried_waits_no_more(kit: Kit) -> None:
    (item_id,) = kit.push("x")
    kit.end(kit.take(), Outcome.RETRY, delay=3600)
    kit.owner.request_cancel(item_id)
    assert kit.owner.retry("q", [item_id]) == 1
    assert kit.drain() == ["x"]


def test_only_dead_and_cancelled_items_of_that_queue_are_retried(kit: Kit) -> None:
    waiting, delayed = kit.push("w") + kit.push("d", delay=5)
    other = kit.push("o", queue="other")
    kit.end(kit.take(queue="other"), Outcome.DEAD)
    assert kit.owner.retry("q", [waiting, delayed, *other]) == 0
    assert kit.owner.retry("nobody") == 0
    assert kit.counts("other").dead == 1


def test_thousands_of_dead_items_are_retried_and_discarded(kit: Kit) -> None:
    kit.push(*range(2500))
    kit.owner.finish(endings=[Ending(lease.execution, Outcome.DEAD) for lease in kit.lease(2500)])
    assert kit.owner.retry("q") == 2500
    assert kit.owner.discard("q", State.WAITING) == 2500
    assert (kit.counts().discarded, live(kit.counts())) == (2500, 0)
    assert kit.lease(10) == []
    assert kit.owner.check() == []


@pytest.mark.parametrize("state", [State.WAITING, State.SCHEDULED, State.RETRYING, State.DEAD, State.CANCELLED])
def test_discarding_removes_items_of_one_state_only(kit: Kit, state: State) -> None:
    ids = kit.push(*range(5))
    for lease, outcome in zip(kit.lease(3), (Outcome.DEAD, Outcome.CANCELLED, Outcome.RETRY), strict=True):
        kit.end(lease, outcome, delay=50)
    ids += kit.push("s", delay=10)
    before = kit.owner.page("q", state).items
    assert kit.owner.discard("q", state) == len(before)
    assert kit.owner.page("q", state).items == []
    assert sum(kit.owner.get(item_id) is not None for item_id in ids) == len(ids) - len(before)
    assert conserved(kit.counts())
    assert kit.owner.check() == []


def test_named_items_are_discarded_if_they_are_in_that_state(kit: Kit) -> None:
    first, second, third = kit.push(1, 2, 3)
    kit.take()
    assert kit.owner.discard("q", State.WAITING, [first, second, second]) == 1
    assert kit.owner.discard("q", State.DEAD, [third]) == 0
    assert kit.owner.discard("nobody", State.WAITING) == 0
    assert kit.drain() == [3]


def test_what_runs_is_never_discarded(kit: Kit) -> None:
    (item_id,) = kit.push(1)
    kit.take()
    assert kit.owner.discard("q", State.RUNNING) == 0
    assert kit.owner.discard("q", State.WAITING, [item_id]) == 0
    assert kit.owner.discard("q", State.WAITING) == 0
    assert kit.counts().running == 1


@pytest.mark.parametrize("delay", [0, 30])
def test_cancelling_what_does_not_run_is_done_at_once(kit: Kit, delay: float) -> None:
    (item_id,) = kit.push("x", delay=delay)
    assert kit.owner.request_cancel(item_id, "eve", "wrong") is CancelReply.CANCELLED
    found = kit.owner.get(item_id)
    assert found is not None
    assert (found.state, found.item.attempt) == (State.CANCELLED, 0)
    assert found.detail == {"cancelled_at": START, "by": "eve", "reason": "wrong"}
    assert kit.owner.wishes() == []
    assert kit.owner.request_cancel(item_id) is CancelReply.UNKNOWN
    kit.clock.now += 60
    assert kit.drain() == []


def test_cancelling_what_runs_is_a_wish_for_that_execution(kit: Kit) -> None:
    (item_id,) = kit.push("x")
    lease = kit.take()
    assert kit.owner.request_cancel(item_id, "eve", "slow") is CancelReply.ASKED
    assert kit.owner.wishes() == [Wish(lease.execution, "eve", "slow", START)]
    assert kit.owner.wishes() == []
    kit.end(lease, Outcome.CANCELLED)
    found = kit.owner.get(item_id)
    assert found is not None
    assert (found.state, found.detail["by"], found.detail["reason"]) == (State.CANCELLED, "eve", "slow")


def test_a_run_that_was_done_first_wins_against_the_wish(kit: Kit) -> None:
    (item_id,) = kit.push("x")
    lease = kit.take()
    kit.owner.request_cancel(item_id)
    kit.done(lease)
    assert kit.owner.get(item_id) is None
    assert kit.owner.wishes() == []
    assert kit.counts().done == 1


@pytest.mark.parametrize("outcome", [Outcome.RETRY, Outcome.INTERRUPTED, Outcome.CRASHED, None])
def test_a_run_whose_cancel_was_asked_for_does_not_come_back(kit: Kit, outcome: Outcome | None) -> None:
    (item_id,) = kit.push("x")
    lease = kit.take()
    kit.owner.request_cancel(item_id, "eve", "stop")
    if outcome is None:
        assert kit.owner.release([lease.execution]) == set()
    else:
        kit.end(lease, outcome)
    found = kit.owner.get(item_id)
    assert found is not None
    assert (found.state, found.item.attempt, found.item.crashes) == (State.CANCELLED, 0, 0)
    assert (found.detail["by"], found.detail["reason"]) == ("eve", "stop")
    assert kit.owner.check() == []


def test_a_wish_survives_the_death_of_the_owner(kit: Kit) -> None:
    (item_id,) = kit.push("x")
    kit.take()
    kit.owner.request_cancel(item_id, "eve", "stop")
    kit.reopen()
    found = kit.owner.get(item_id)
    assert found is not None
    assert (found.state, found.detail["by"]) == (State.CANCELLED, "eve")
    assert kit.owner.check() == []


def test_a_wish_never_hits_another_execution(kit: Kit) -> None:
    ids = kit.push("x", "y")
    lease, _ = kit.lease(2)
    kit.owner.request_cancel(ids[0])
    kit.end(lease, Outcome.CANCELLED)
    kit.owner.retry("q", ids[:1])
    again = kit.take()
    assert kit.owner.wishes() == []
    kit.end(again, Outcome.INTERRUPTED)
    assert kit.counts().waiting == 1


def test_a_paused_queue_is_not_leased_also_after_a_restart_and_takes_pushes(kit: Kit) -> None:
    kit.push(1)
    kit.owner.pause("q")
    assert kit.counts().paused
    assert kit.lease(5) == []
    kit.reopen()
    kit.push(2)
    assert kit.lease(5) == []
    assert kit.owner.ready() == {}
    kit.owner.resume("q")
    assert not kit.counts().paused
    kit.reopen()
    assert kit.drain() == [1, 2]


def test_cancelled_items_are_swept_after_a_week_and_dead_ones_never(kit: Kit) -> None:
    dead, gone = kit.push("dead", "cancelled")
    first, second = kit.lease(2)
    kit.end(first, Outcome.DEAD)
    kit.end(second, Outcome.CANCELLED)
    kit.clock.now += WEEK
    kit.owner.sweep()
    assert kit.owner.get(gone) is not None
    kit.clock.now += 2
    kit.owner.sweep()
    assert kit.owner.get(gone) is None
    assert kit.owner.get(dead) is not None
    assert (kit.counts().cancelled, kit.counts().stopped) == (0, 1)
    assert conserved(kit.counts())
    assert kit.owner.check() == []
