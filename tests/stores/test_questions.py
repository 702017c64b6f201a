"""The contract of stores: questions: counts, ages, pages, results. Every kind of store must pass."""

from __future__ import annotations

from itertools import pairwise

import pytest

from django_graceful.items import UNIQUE, Outcome, State
from django_graceful.stores.base import CancelReply, Counts, Ending, Page
from tests.stores.kit import START, Kit, payload

WEEK = 7 * 86400


def live(counts: Counts) -> int:
    return counts.waiting + counts.scheduled + counts.retrying + counts.running


def conserved(counts: Counts) -> bool:
    return counts.pushed == counts.done + counts.died + counts.stopped + counts.discarded + live(counts)


def pages(kit: Kit, state: State, limit: int, queue: str = "q") -> list[Page]:
    found = [kit.owner.page(queue, state, limit=limit)]
    while found[-1].after is not None:
        found.append(kit.owner.page(queue, state, found[-1].after, limit))
    return found


def test_counts_name_every_queue_ever_seen(kit: Kit) -> None:
    kit.push(1, queue="a")
    kit.drain("a")
    kit.owner.pause("b")
    assert set(kit.owner.counts()) == {"a", "b"}
    assert set(kit.reopen().counts()) == {"a", "b"}


def test_every_state_is_counted(kit: Kit) -> None:
    kit.push(*range(6))
    kit.push(6, delay=10)
    _, retry, dead, cancelled = kit.lease(4)
    kit.end(retry, Outcome.RETRY, delay=9)
    kit.end(dead, Outcome.DEAD)
    kit.end(cancelled, Outcome.CANCELLED)
    expected = Counts(2, 1, 1, 1, 1, 1, 0.0, False, 7, 0, 0, 1, 1, 1, 0)
    assert kit.counts() == expected
    assert conserved(expected)


def test_totals_are_conserved_whatever_happens(kit: Kit) -> None:
    ids = kit.push(*range(12))
    kit.push("a", "b", key="k", flags=UNIQUE)
    leases = kit.lease(6)
    kit.owner.finish(
        [leases[0].execution],
        [Ending(leases[at + 1].execution, outcome) for at, outcome in enumerate(list(Outcome)[1:])],
    )
    assert conserved(kit.counts())
    kit.owner.request_cancel(ids[10])
    kit.owner.discard("q", State.WAITING, [ids[11]])
    assert conserved(kit.counts())
    assert kit.owner.retry("q", ids) == 3
    assert (kit.counts().died, kit.counts().stopped, kit.counts().discarded) == (0, 0, 1)
    assert conserved(kit.counts())
    kit.end(kit.take(), Outcome.DEAD)
    kit.owner.discard("q", State.DEAD)
    assert (kit.counts().died, kit.counts().dead) == (1, 0)
    assert conserved(kit.counts())
    kit.reopen()
    assert conserved(kit.counts())
    assert kit.owner.check() == []


def test_the_oldest_age_is_that_of_the_item_pushed_first(kit: Kit) -> None:
    assert kit.push() == []
    kit.push("low", priority=-1)
    kit.clock.now += 10
    kit.push("high")
    kit.clock.now += 5
    assert kit.counts().oldest_age == 15
    kit.done(kit.take())
    assert kit.counts().oldest_age == 15
    kit.take()
    assert kit.counts().oldest_age is None


def test_the_oldest_age_is_found_among_all_priorities(kit: Kit) -> None:
    kit.push("first of all")
    kit.done(kit.take())
    for priority in (3, -3, 0, 100):
        kit.push(priority, priority=priority)
        kit.clock.now += 10
    assert kit.counts().oldest_age == 40
    kit.push("urgent", priority=100)
    assert payload(kit.take()) == 100
    kit.owner.discard("q", State.WAITING, [kit.owner.page("q", State.WAITING).items[1].item.id])
    assert kit.counts().oldest_age == 30


def test_the_oldest_age_counts_items_that_memory_does_not_hold(kit: Kit) -> None:
    kit.push("old", priority=-1)
    kit.clock.now += 100
    for _ in range(9):
        kit.push(*range(1000))
    assert kit.counts().oldest_age == 100


def test_the_oldest_age_counts_items_that_are_passed_over(kit: Kit) -> None:
    kit.push("a", key="k", flags=UNIQUE)
    kit.take()
    kit.push("b", key="k", flags=UNIQUE)
    kit.lease()
    kit.clock.now += 7
    assert kit.counts().oldest_age == 7


def test_a_clock_that_steps_back_makes_no_negative_age(kit: Kit) -> None:
    kit.push("x")
    kit.clock.now -= 100
    assert kit.counts().oldest_age == 0


def test_an_item_is_found_in_every_state(kit: Kit) -> None:
    (item_id,) = kit.push("x", delay=5, key="k", priority=3)
    found = kit.owner.get(item_id)
    assert found is not None
    assert (found.item.id, found.item.queue, found.item.key, found.item.priority) == (item_id, "q", "k", 3)
    assert (found.state, found.detail) == (State.SCHEDULED, {"due": START + 5})
    kit.clock.now += 5
    kit.prepare()
    found = kit.owner.get(item_id)
    assert found is not None
    assert (found.state, found.detail) == (State.WAITING, {})
    lease = kit.take("worker-7")
    found = kit.owner.get(item_id)
    assert found is not None
    since = pytest.approx(START + 5, abs=0.01)
    assert found.state is State.RUNNING
    assert found.detail == {"execution": lease.execution, "owner": "worker-7", "since": since}


@pytest.mark.parametrize("item_id", ["", "nonsense", "00", "0" * 32, "0" * 64, "é" * 32])
def test_unknown_and_malformed_ids_are_unknown(kit: Kit, item_id: str) -> None:
    kit.push("x")
    assert kit.owner.get(item_id) is None
    assert kit.owner.result(item_id) is None
    assert kit.owner.request_cancel(item_id) is CancelReply.UNKNOWN
    assert kit.owner.retry("q", [item_id]) == 0
    assert kit.owner.discard("q", State.WAITING, [item_id]) == 0


def test_pages_give_each_item_once_in_the_order_in_which_they_would_run(kit: Kit) -> None:
    kit.push(*range(5))
    kit.push("first", priority=1)
    found = pages(kit, State.WAITING, 2)
    assert [[at.item.payload for at in page.items] for page in found] == [["first", 0], [1, 2], [3, 4]]


@pytest.mark.parametrize("state", list(State))
def test_every_state_has_pages(kit: Kit, state: State) -> None:
    endings = {State.DEAD: Outcome.DEAD, State.CANCELLED: Outcome.CANCELLED, State.RETRYING: Outcome.RETRY}
    kit.push("other 1", delay=500)
    kit.push(*range(5), priority=1, delay=5 if state is State.SCHEDULED else 0)
    if state in endings:
        for lease in kit.lease(5):
            kit.clock.now += 1
            kit.end(lease, endings[state], delay=60)
    if state is State.RUNNING:
        kit.lease(3)
        kit.lease(2)
    found = pages(kit, state, 2)
    payloads = [at.item.payload for page in found for at in page.items]
    assert payloads == ([0, 1, 2, 3, 4, "other 1"] if state is State.SCHEDULED else [0, 1, 2, 3, 4])
    assert {at.state for page in found for at in page.items} == {state}
    assert all(len(page.items) == 2 for page, _ in pairwise(found))


def test_pages_of_unknown_queues_and_with_odd_marks_are_empty_or_whole(kit: Kit) -> None:
    kit.push(1, 2)
    assert kit.owner.page("nobody", State.WAITING) == Page([])
    assert kit.owner.page("q", State.WAITING, limit=0) == Page([])
    assert len(kit.owner.page("q", State.WAITING, after="nonsense").items) == 2
    assert kit.owner.page("q", State.WAITING, after="ff" * 40).items == []


def test_running_items_are_not_on_the_page_of_waiting_ones(kit: Kit) -> None:
    kit.push(1, 2)
    kit.take()
    assert [at.item.payload for at in kit.owner.page("q", State.WAITING).items] == [2]
    assert [at.item.payload for at in kit.owner.page("q", State.RUNNING).items] == [1]


def test_a_result_is_kept_until_it_expires(kit: Kit) -> None:
    (item_id,) = kit.push("x")
    kit.end(kit.take(), Outcome.DONE, result=b'{"a": 1}', result_ttl=60)
    assert kit.owner.result(item_id) == {"result": '{"a": 1}', "finished_at": START}
    assert kit.owner.get(item_id) is None
    kit.reopen()
    kit.clock.now += 59
    kit.owner.sweep()
    assert kit.owner.result(item_id) is not None
    kit.clock.now += 1
    assert kit.owner.result(item_id) is None
    kit.owner.sweep()
    kit.clock.now -= 30
    assert kit.owner.result(item_id) is None
    assert kit.owner.check() == []


def test_a_later_result_replaces_the_earlier_and_has_its_own_time(kit: Kit) -> None:
    (item_id,) = kit.push("x")
    kit.end(kit.take(), Outcome.RETRY, result=b"1", result_ttl=10)
    kit.end(kit.take(), Outcome.DONE, result=b"2", result_ttl=100)
    kit.clock.now += 50
    kit.owner.sweep()
    found = kit.owner.result(item_id)
    assert found is not None
    assert found["result"] == "2"


def test_plainly_done_leaves_no_result(kit: Kit) -> None:
    (item_id,) = kit.push("x")
    kit.done(kit.take())
    assert kit.owner.result(item_id) is None


def test_a_refused_ending_leaves_no_result(kit: Kit) -> None:
    (item_id,) = kit.push("x")
    lease = kit.take()
    kit.owner.release([lease.execution])
    ending = Ending(lease.execution, Outcome.DONE, result=b"1", result_ttl=10)
    assert kit.owner.finish(endings=[ending]) == {lease.execution}
    assert kit.owner.result(item_id) is None
