"""The contract of stores, sentence by sentence: order, due times, leases, room. Every kind of store must pass."""

from __future__ import annotations

import pytest

from django_graceful.exceptions import QueueFull
from tests.stores.kit import START, Kit, payload

ERROR = {"type": "ValueError", "message": "no", "traceback": "Traceback …"}


def test_items_run_in_the_order_of_their_pushes(kit: Kit) -> None:
    kit.push(1, 2, 3)
    kit.push(4)
    assert kit.drain() == [1, 2, 3, 4]


def test_a_higher_priority_runs_first(kit: Kit) -> None:
    kit.push("low", priority=-100)
    kit.push("normal")
    kit.push("high", priority=100)
    kit.push("high too", priority=100)
    assert kit.drain() == ["high", "high too", "normal", "low"]


def test_queues_do_not_mix(kit: Kit) -> None:
    kit.push("mail", queue="mail")
    kit.push("search", queue="search")
    assert kit.drain("search") == ["search"]
    assert kit.drain("mail") == ["mail"]


def test_a_push_answers_with_the_ids_in_order(kit: Kit) -> None:
    ids = kit.push("a", "b")
    found = [kit.owner.get(item_id) for item_id in ids]
    assert [at.item.payload for at in found if at] == ["a", "b"]


def test_a_delayed_item_becomes_ready_at_its_time_and_not_before(kit: Kit) -> None:
    kit.push("later", delay=30)
    assert kit.counts().scheduled == 1
    assert kit.owner.ready() == {}
    kit.clock.now = START + 29.9
    assert kit.lease() == []
    kit.clock.now = START + 30
    assert [payload(found) for found in kit.lease()] == ["later"]


def test_a_delayed_item_keeps_the_place_of_its_push(kit: Kit) -> None:
    kit.push("first, but late", delay=10)
    kit.push("second")
    kit.clock.now += 10
    assert kit.drain() == ["first, but late", "second"]


def test_a_due_item_of_high_priority_overtakes(kit: Kit) -> None:
    kit.push("second")
    kit.push("first", delay=10, priority=5)
    kit.clock.now += 10
    assert kit.drain() == ["first", "second"]


def test_the_next_due_time_is_known(kit: Kit) -> None:
    assert kit.owner.next_due() is None
    kit.push("b", delay=20)
    kit.push("a", delay=10, queue="other")
    assert kit.owner.next_due() == START + 10
    kit.clock.now += 10
    kit.prepare()
    assert kit.owner.next_due() == START + 20
    kit.clock.now += 10
    kit.prepare()
    assert kit.owner.next_due() is None


def test_an_earlier_delay_pushed_later_is_the_next_due(kit: Kit) -> None:
    kit.push("b", delay=20)
    assert kit.owner.next_due() == START + 20
    kit.push("a", delay=5)
    assert kit.owner.next_due() == START + 5


def test_a_cancelled_delayed_item_is_not_due_any_more(kit: Kit) -> None:
    first, _ = kit.push("a", delay=5) + kit.push("b", delay=7)
    assert kit.owner.next_due() == START + 5
    kit.owner.request_cancel(first)
    assert kit.owner.next_due() == START + 7


def test_a_clock_that_steps_back_makes_items_wait_and_loses_none(kit: Kit) -> None:
    kit.push("later", delay=10)
    kit.push("now")
    kit.clock.now -= 3600
    assert kit.drain() == ["now"]
    kit.clock.now = START + 10
    assert kit.drain() == ["later"]


def test_a_clock_that_steps_forth_and_back_loses_nothing(kit: Kit) -> None:
    kit.push("a", delay=10)
    kit.clock.now += 100
    kit.prepare()
    kit.clock.now -= 200
    kit.push("b", delay=1)
    assert kit.drain() == ["a"]
    kit.clock.now += 1
    assert kit.drain() == ["b"]


def test_prepare_says_when_there_is_more(kit: Kit) -> None:
    kit.push(*range(5), delay=1)
    kit.clock.now += 1
    assert kit.owner.prepare(2)
    assert kit.owner.prepare(2)
    assert not kit.owner.prepare(2)
    assert kit.drain() == [0, 1, 2, 3, 4]


def test_ready_leaves_out_empty_paused_and_running(kit: Kit) -> None:
    kit.push(1, 2)
    kit.push(1, queue="paused")
    kit.owner.pause("paused")
    kit.take()
    assert kit.owner.ready() == {"q": 1}
    kit.take()
    assert kit.owner.ready() == {}


def test_a_lease_gives_no_more_than_its_limit_and_each_item_once(kit: Kit) -> None:
    kit.push(*range(5))
    first = kit.lease(3)
    second = kit.lease(3)
    assert [payload(found) for found in first + second] == [0, 1, 2, 3, 4]
    assert kit.lease(3) == []


def test_the_executions_of_one_owner_rise_and_are_never_used_again(kit: Kit) -> None:
    kit.push(*range(6))
    seen = [found.execution for _ in range(2) for found in kit.lease(2)]
    kit.owner.release(seen)
    kit.reopen()
    seen += [found.execution for found in kit.lease(6)]
    assert seen == sorted(set(seen))


def test_a_queue_that_nobody_knows_has_nothing_to_lease(kit: Kit) -> None:
    assert kit.owner.lease("nobody", 5, "w1") == []


def test_a_full_queue_refuses_the_whole_push_at_once(kit: Kit) -> None:
    kit.push(1, 2, limit=3)
    with pytest.raises(QueueFull, match="'q'"):
        kit.push(3, 4, limit=3)
    assert kit.counts().pushed == 2
    kit.push(3, limit=3)
    assert kit.drain() == [1, 2, 3]


def test_a_duplicate_needs_no_room_even_where_more_wait_than_may(kit: Kit) -> None:
    record = kit.record("x")
    first = kit.owner.push("q", [record])
    kit.push(1, 2)
    assert kit.owner.push("q", [record], 1) == first


def test_what_runs_takes_no_room_and_what_is_delayed_does(kit: Kit) -> None:
    kit.push(1, limit=1)
    kit.take()
    kit.push(2, limit=1, delay=10)
    with pytest.raises(QueueFull):
        kit.push(3, limit=1)


def test_pushing_the_same_item_again_changes_nothing(kit: Kit) -> None:
    record = kit.record("x")
    first = kit.owner.push("q", [record])
    assert kit.owner.push("q", [record, record]) == first * 2
    assert (kit.counts().pushed, kit.counts().duplicates) == (1, 2)
    assert kit.drain() == ["x"]


def test_a_long_queue_is_drained_in_order(kit: Kit) -> None:
    count = 9000
    for start in range(0, count, 1000):
        kit.push(*range(start, start + 1000))
    kit.push("urgent", priority=1)
    found = []
    while leases := kit.lease(700):
        found += [payload(lease) for lease in leases]
        assert kit.owner.finish([lease.execution for lease in leases]) == set()
    assert found == ["urgent", *range(count)]


def test_urgent_items_overtake_a_queue_longer_than_memory_holds(kit: Kit) -> None:
    kit.push(*range(5000))
    held = kit.lease(10)
    for start in range(0, 9000, 1000):
        kit.push(*range(-9000 + start, -8000 + start), priority=1)
    kit.owner.release([lease.execution for lease in held[5:]])
    found = []
    while leases := kit.lease(1000):
        found += [payload(lease) for lease in leases]
        kit.owner.finish([lease.execution for lease in leases])
    assert found == [*range(-9000, 0), *range(5, 5000)]
    assert kit.owner.finish([lease.execution for lease in held[:5]]) == set()
    assert kit.counts().done == 14_000
