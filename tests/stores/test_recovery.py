"""The contract of stores: what a new owner makes of a dead one's leases (promises P1, P2 and P8)."""

from __future__ import annotations

import pytest

from django_graceful.items import RUN_ONCE, UNIQUE, Outcome, State, decode_item
from django_graceful.stores.base import Progress
from tests.stores.kit import Kit, payload


def test_without_a_trace_everything_comes_back_uncounted(kit: Kit) -> None:
    kit.push(*range(5))
    kit.lease(3)
    kit.reopen(lambda owner: None)
    items = [decode_item("q", lease.record) for lease in kit.lease(9)]
    assert [(item.payload, item.attempt, item.crashes) for item in items] == [(n, 0, 0) for n in range(5)]


def test_a_witness_tells_done_from_crashed_from_never_started(kit: Kit) -> None:
    kit.push(*range(5))
    leases = kit.lease(5, owner="w9")
    asked = []

    def witness(owner: str) -> Progress:
        asked.append(owner)
        return Progress(started=leases[2].execution, finished=leases[1].execution)

    kit.reopen(witness)
    assert asked == ["w9"]
    assert kit.counts().done == 2
    items = [decode_item("q", lease.record) for lease in kit.lease(9)]
    assert [(item.payload, item.crashes) for item in items] == [(2, 1), (3, 0), (4, 0)]
    assert kit.owner.check() == []


def test_what_a_batch_had_called_handled_is_done(kit: Kit) -> None:
    kit.push(*range(4))
    leases = kit.lease(4)
    handled = frozenset({leases[0].execution, leases[2].execution})
    kit.reopen(lambda owner: Progress(started=leases[3].execution, finished=0, handled=handled))
    items = [decode_item("q", lease.record) for lease in kit.lease(9)]
    assert [(item.payload, item.crashes) for item in items] == [(1, 1), (3, 1)]


def test_an_owner_that_dies_while_it_recovers_loses_nothing(kit: Kit) -> None:
    kit.push(*range(6))
    kit.lease(2, owner="a")
    kit.lease(2, owner="b")

    def witness(owner: str) -> None:
        if owner == "b":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kit.reopen(witness)
    kit.crash()
    kit.open()
    assert kit.drain() == list(range(6))


def test_an_item_that_kills_every_worker_is_dead_in_the_end(kit: Kit) -> None:
    (item_id,) = kit.push("poison")
    for _ in range(3):
        lease = kit.take()
        kit.reopen(lambda owner, lease=lease: Progress(started=lease.execution, finished=0))  # type: ignore[misc]
    found = kit.owner.get(item_id)
    assert found is not None
    assert (found.state, found.item.crashes) == (State.DEAD, 3)


def test_the_number_of_crashes_that_kill_is_the_owners(kit: Kit) -> None:
    kit.push("x")
    lease = kit.take()
    kit.reopen(lambda owner: Progress(started=lease.execution, finished=0), max_crashes=1)
    assert kit.counts().dead == 1


@pytest.mark.parametrize("started", [True, False, None])
def test_an_item_that_must_not_run_twice_comes_back_only_if_it_surely_never_started(
    kit: Kit, started: bool | None
) -> None:
    (item_id,) = kit.push("once", flags=RUN_ONCE)
    lease = kit.take()
    progress = None if started is None else Progress(started=lease.execution if started else 0, finished=0)
    kit.reopen(lambda owner: progress)
    found = kit.owner.get(item_id)
    assert found is not None
    assert found.state is (State.WAITING if started is False else State.DEAD)


def test_what_ended_before_the_crash_stays_ended(kit: Kit) -> None:
    ids = kit.push(*range(7))
    done, retry, dead, gone, back, released, _ = kit.lease(7)
    kit.done(done)
    kit.end(retry, Outcome.RETRY, delay=1)
    kit.end(dead, Outcome.DEAD)
    kit.end(gone, Outcome.CANCELLED)
    kit.end(back, Outcome.INTERRUPTED)
    kit.owner.release([released.execution])
    # The worker is far behind all of them: if the lease still named them, they would be taken for finished.
    kit.reopen(lambda owner: Progress(started=released.execution, finished=released.execution))
    states = [found.state if (found := kit.owner.get(item_id)) else None for item_id in ids]
    assert states[:4] == [None, State.RETRYING, State.DEAD, State.CANCELLED]
    assert states[4:] == [State.WAITING] * 3
    assert kit.counts().done == 1
    kit.clock.now += 1
    assert kit.drain() == [1, 4, 5, 6]


def test_items_that_came_back_to_their_old_place_are_not_the_dead_leases(kit: Kit) -> None:
    kit.push("a", "b", "c")
    first, second, third = kit.lease(3)
    kit.end(first, Outcome.RETRY)
    kit.end(second, Outcome.DEAD)
    kit.owner.retry("q")
    kit.prepare()
    kit.reopen(lambda owner: Progress(started=third.execution, finished=second.execution))
    items = [decode_item("q", lease.record) for lease in kit.lease(5)]
    assert [(item.payload, item.crashes) for item in items] == [("a", 0), ("b", 0), ("c", 1)]


def test_old_executions_are_refused_by_the_new_owner(kit: Kit) -> None:
    kit.push("x")
    lease = kit.take()
    kit.reopen()
    assert kit.owner.finish([lease.execution]) == {lease.execution}
    assert kit.owner.release([lease.execution]) == {lease.execution}
    assert kit.drain() == ["x"]


def test_unique_items_that_come_back_are_still_unique(kit: Kit) -> None:
    kit.push("a", key="k", flags=UNIQUE)
    kit.take()
    kit.push("b", key="k", flags=UNIQUE)
    kit.reopen()
    assert [payload(lease) for lease in kit.lease(5)] == ["a"]
    assert kit.owner.check() == []


def test_everything_survives_a_reopening(kit: Kit) -> None:
    kit.push(*range(3))
    kit.push("s", delay=5)
    kit.push("other", queue="other", priority=7)
    before = kit.owner.counts()
    kit.owner.close()
    kit.open()
    assert kit.owner.counts() == before
    assert kit.owner.next_due() == kit.clock.now + 5
    assert kit.owner.ready() == {"q": 3, "other": 1}
    kit.push(3)
    assert kit.drain() == [0, 1, 2, 3]


def test_pushes_after_a_reopening_come_after_the_older_ones(kit: Kit) -> None:
    for number in range(5):
        kit.push(number)
        kit.reopen()
    assert kit.drain() == list(range(5))


def test_the_opening_says_what_it_brought_back(kit: Kit) -> None:
    kit.push(*range(3))
    leases = kit.lease(3, owner="w7")
    owner = kit.reopen(lambda _: Progress(started=leases[1].execution, finished=leases[0].execution))
    assert owner.notices == ["leased by w7, which is gone: 1 done, 1 crashed, 1 not started"]
    assert kit.reopen().notices == []
