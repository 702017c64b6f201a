"""The contract of stores: what becomes of a leased item, and who is refused. Every kind of store must pass."""

from __future__ import annotations

import pytest

from django_graceful.items import RUN_ONCE, Outcome, State, decode_item
from django_graceful.stores.base import Ending
from tests.stores.kit import START, Kit

ERROR = {"type": "ValueError", "message": "no", "traceback": "Traceback …"}


def test_done_is_gone(kit: Kit) -> None:
    (item_id,) = kit.push("x")
    kit.done(kit.take())
    assert kit.owner.get(item_id) is None
    assert kit.counts().done == 1
    assert kit.reopen().get(item_id) is None


def test_many_executions_end_in_one_call(kit: Kit) -> None:
    kit.push(*range(6))
    leases = [found.execution for found in kit.lease(6)]
    endings = [Ending(leases[4], Outcome.DEAD, reason="r"), Ending(leases[5], Outcome.RETRY, delay=1)]
    assert kit.owner.finish(leases[:4], endings) == set()
    counts = kit.counts()
    assert (counts.done, counts.dead, counts.retrying, counts.running) == (4, 1, 1, 0)


def test_a_retry_counts_an_attempt_keeps_the_error_and_waits(kit: Kit) -> None:
    (item_id,) = kit.push("x")
    kit.end(kit.take(), Outcome.RETRY, delay=60, error=ERROR)
    found = kit.owner.get(item_id)
    assert found is not None
    assert found.state is State.RETRYING
    assert found.detail["due"] == START + 60
    assert found.item.attempt == 1
    assert found.item.errors == [{"attempt": 1, "at": START, **ERROR}]
    assert kit.lease() == []
    kit.clock.now += 60
    assert decode_item("q", kit.take().record).attempt == 1
    assert kit.counts().retried == 1


def test_a_retried_item_keeps_the_place_of_its_push(kit: Kit) -> None:
    kit.push("first", "second")
    kit.end(kit.take(), Outcome.RETRY, delay=1)
    kit.clock.now += 1
    assert kit.drain() == ["first", "second"]


@pytest.mark.parametrize("delay", [0.0, -5.0, float("nan")])
def test_a_retry_without_a_delay_is_due_at_once(kit: Kit, delay: float) -> None:
    kit.push("x")
    kit.end(kit.take(), Outcome.RETRY, delay=delay)
    assert kit.owner.next_due() == START
    assert kit.drain() == ["x"]


def test_an_endless_delay_is_stored_as_a_long_one(kit: Kit) -> None:
    kit.push("x")
    kit.end(kit.take(), Outcome.RETRY, delay=float("inf"))
    assert (kit.owner.next_due() or 0) > START + 86400 * 365


def test_only_the_last_ten_errors_and_the_ends_of_their_texts_are_kept(kit: Kit) -> None:
    (item_id,) = kit.push("x")
    for number in range(12):
        kit.end(kit.take(), Outcome.RETRY, error={"type": "E", "message": str(number), "traceback": "x" * 50_000 + "!"})
        kit.clock.now += 1
    found = kit.owner.get(item_id)
    assert found is not None
    assert [error["message"] for error in found.item.errors] == [str(number) for number in range(2, 12)]
    assert {len(error["traceback"]) for error in found.item.errors} == {16 << 10}
    assert found.item.errors[0]["traceback"].endswith("!")


def test_an_error_that_is_not_unicode_stops_no_ending(kit: Kit) -> None:
    (item_id,) = kit.push("x")
    kit.end(kit.take(), Outcome.DEAD, error={"type": "E", "message": "\udcff"}, reason="\udcfe", by="\udcfd")
    found = kit.owner.get(item_id)
    assert found is not None
    assert found.item.errors[0]["message"] == "?"


def test_a_dead_item_is_set_aside_with_error_reason_and_time(kit: Kit) -> None:
    (item_id,) = kit.push("x")
    lease = kit.take()
    kit.clock.now += 5
    kit.end(lease, Outcome.DEAD, error=ERROR, reason="no attempt is left")
    found = kit.owner.get(item_id)
    assert found is not None
    assert (found.state, found.item.attempt) == (State.DEAD, 1)
    assert found.detail == {"died_at": START + 5, "reason": "no attempt is left"}
    assert found.item.errors[0]["message"] == "no"
    assert kit.drain() == []


def test_a_dead_item_that_never_failed_by_itself_has_no_attempt_more(kit: Kit) -> None:
    (item_id,) = kit.push("x")
    kit.end(kit.take(), Outcome.DEAD, reason="discarded by its handler")
    found = kit.owner.get(item_id)
    assert found is not None
    assert found.item.attempt == 0


def test_a_cancelled_run_is_set_aside_with_who_when_and_why_and_no_attempt(kit: Kit) -> None:
    (item_id,) = kit.push("x")
    kit.end(kit.take(), Outcome.CANCELLED, by="eve", reason="too slow")
    found = kit.owner.get(item_id)
    assert found is not None
    assert (found.state, found.item.attempt, found.item.errors) == (State.CANCELLED, 0, [])
    assert found.detail == {"cancelled_at": START, "by": "eve", "reason": "too slow"}
    assert (kit.counts().cancelled, kit.counts().stopped, kit.counts().died) == (1, 1, 0)


def test_an_interrupted_item_goes_back_to_the_front_with_nothing_counted(kit: Kit) -> None:
    kit.push("first", "second")
    kit.end(kit.take(), Outcome.INTERRUPTED)
    lease = kit.take()
    item = decode_item("q", lease.record)
    assert (item.payload, item.attempt, item.crashes) == ("first", 0, 0)


def test_a_crashed_item_goes_back_to_the_front_with_one_crash_more(kit: Kit) -> None:
    kit.push("first", "second")
    kit.end(kit.take(), Outcome.CRASHED)
    item = decode_item("q", kit.take().record)
    assert (item.payload, item.attempt, item.crashes) == ("first", 0, 1)


def test_an_item_under_which_its_worker_died_too_often_is_dead(kit: Kit) -> None:
    (item_id,) = kit.push("poison")
    for _ in range(3):
        kit.end(kit.take(), Outcome.CRASHED)
    found = kit.owner.get(item_id)
    assert found is not None
    assert (found.state, found.item.crashes, found.item.attempt) == (State.DEAD, 3, 0)
    assert "3 times" in found.detail["reason"]


@pytest.mark.parametrize("outcome", [Outcome.INTERRUPTED, Outcome.CRASHED])
def test_an_item_that_must_not_run_twice_is_dead_instead_of_going_back(kit: Kit, outcome: Outcome) -> None:
    (item_id,) = kit.push("once", flags=RUN_ONCE)
    kit.end(kit.take(), outcome)
    found = kit.owner.get(item_id)
    assert found is not None
    assert found.state is State.DEAD
    assert "must not run twice" in found.detail["reason"]
    assert kit.lease() == []


def test_released_items_go_back_in_order_to_the_front(kit: Kit) -> None:
    kit.push(*range(4))
    leases = kit.lease(3)
    assert kit.owner.release([leases[2].execution, leases[1].execution]) == set()
    kit.done(leases[0])
    assert kit.drain() == [1, 2, 3]


def test_an_item_that_must_not_run_twice_survives_a_release(kit: Kit) -> None:
    kit.push("once", flags=RUN_ONCE)
    kit.owner.release([kit.take().execution])
    assert kit.drain() == ["once"]


def test_a_late_finisher_is_refused_and_changes_nothing(kit: Kit) -> None:
    (item_id,) = kit.push("x")
    late = kit.take()
    kit.owner.release([late.execution])
    again = kit.take()
    assert kit.owner.finish([late.execution]) == {late.execution}
    assert kit.owner.finish(endings=[Ending(late.execution, Outcome.DEAD)]) == {late.execution}
    assert kit.owner.release([late.execution]) == {late.execution}
    assert kit.owner.renew([late.execution, again.execution]) == {late.execution}
    found = kit.owner.get(item_id)
    assert found is not None
    assert (found.state, found.detail["execution"]) == (State.RUNNING, again.execution)
    kit.done(again)


def test_an_execution_ends_only_once(kit: Kit) -> None:
    kit.push("x", "y")
    first, second = kit.lease(2)
    assert kit.owner.finish([first.execution, first.execution]) == {first.execution}
    assert kit.owner.finish([first.execution, second.execution]) == {first.execution}
    assert kit.counts().done == 2


def test_executions_that_never_were_are_refused(kit: Kit) -> None:
    kit.push("x")
    assert kit.owner.finish([0, 1 << 62], [Ending(77, Outcome.DONE)]) == {0, 1 << 62, 77}
    assert kit.drain() == ["x"]


def test_a_part_of_a_lease_ends_in_every_way(kit: Kit) -> None:
    kit.push(*range(6))
    done, retry, dead, gone, back, left = kit.lease(6)
    kit.done(done)
    kit.end(retry, Outcome.RETRY, delay=1)
    kit.end(dead, Outcome.DEAD)
    kit.end(gone, Outcome.CANCELLED)
    kit.end(back, Outcome.INTERRUPTED)
    assert kit.counts().running == 1
    kit.done(left)
    kit.clock.now += 1
    assert kit.drain() == [1, 4]
