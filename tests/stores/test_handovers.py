"""What comes from an outbox is taken in once, on every store, however often and whenever it is handed over."""

from __future__ import annotations

import pytest

from django_graceful.exceptions import QueueFull
from django_graceful.items import OUTBOX, UNIQUE, UNTIL_FINISHED, Outcome, State, new_id
from django_graceful.stores.engine import handovers
from django_graceful.stores.redis import desk
from tests.stores.kit import Kit

HOUR = 3600.0


def test_a_second_handover_while_the_item_waits_changes_nothing(kit: Kit) -> None:
    record = kit.record("x", flags=OUTBOX)
    assert kit.owner.push("q", [record]) == kit.owner.push("q", [record])
    assert kit.drain() == ["x"]


@pytest.mark.parametrize("outcome", [Outcome.DONE, Outcome.CANCELLED, Outcome.DEAD])
def test_a_second_handover_after_the_end_of_the_item_changes_nothing(kit: Kit, outcome: Outcome) -> None:
    record = kit.record("x", flags=OUTBOX)
    kit.owner.push("q", [record])
    kit.end(kit.take(), outcome)
    for state in (State.DEAD, State.CANCELLED):
        kit.owner.discard("q", state)
    kit.owner.push("q", [record])
    assert kit.lease() == []
    assert kit.counts().waiting == 0
    assert kit.owner.check() == []


def test_without_the_mark_a_finished_item_is_a_new_one(kit: Kit) -> None:
    record = kit.record("x")
    kit.owner.push("q", [record])
    kit.drain()
    kit.owner.push("q", [record])
    assert kit.drain() == ["x"]


def test_the_handover_is_known_after_the_death_of_the_owner(kit: Kit) -> None:
    record = kit.record("x", flags=OUTBOX)
    kit.owner.push("q", [record])
    kit.drain()
    kit.reopen()
    kit.owner.push("q", [record])
    assert kit.drain() == []


def test_of_many_only_the_new_ones_are_taken_in(kit: Kit) -> None:
    old = [kit.record(n, flags=OUTBOX) for n in range(3)]
    kit.owner.push("q", old)
    kit.drain()
    new = [kit.record(n, flags=OUTBOX) for n in (10, 11)]
    kit.owner.push("q", [old[1], new[0], old[2], new[1], new[0]])
    assert kit.drain() == [10, 11]


def test_an_item_that_was_merged_into_the_holder_of_its_key_does_not_come_back_for_it(kit: Kit) -> None:
    kit.push("holder", key="k", flags=UNIQUE | UNTIL_FINISHED)
    record = kit.record("merged", key="k", flags=UNIQUE | UNTIL_FINISHED | OUTBOX)
    kit.owner.push("q", [record])
    assert kit.drain() == ["holder"]
    kit.owner.push("q", [record])
    assert kit.drain() == []


def test_a_delayed_item_is_handed_over_once(kit: Kit) -> None:
    record = kit.record("later", delay=60, flags=OUTBOX)
    kit.owner.push("q", [record])
    kit.owner.push("q", [record])
    assert kit.counts().scheduled == 1
    kit.clock.now += 61
    assert kit.drain() == ["later"]
    kit.owner.push("q", [record])
    assert kit.drain() == []


def test_a_handover_that_found_no_room_is_none(kit: Kit) -> None:
    kit.push("first")
    record = kit.record("x", flags=OUTBOX)
    with pytest.raises(QueueFull):
        kit.owner.push("q", [record], 1)
    assert kit.drain() == ["first"]
    kit.owner.push("q", [record], 1)
    assert kit.drain() == ["x"]


def test_what_was_handed_over_long_ago_is_forgotten_when_asked(kit: Kit) -> None:
    old, young = kit.record("old", flags=OUTBOX), kit.record("young", flags=OUTBOX)
    kit.owner.push("q", [old])
    kit.clock.now += HOUR
    kit.owner.push("q", [young])
    assert kit.drain() == ["old", "young"]
    assert kit.owner.forget_handovers(HOUR) == 1
    assert kit.owner.forget_handovers(HOUR) == 0
    kit.owner.push("q", [old, young])
    assert kit.drain() == ["old"]


def test_each_handover_renews_what_is_known(kit: Kit) -> None:
    record = kit.record("x", flags=OUTBOX)
    kit.owner.push("q", [record])
    kit.drain()
    kit.clock.now += HOUR
    kit.owner.push("q", [record])
    assert kit.owner.forget_handovers(HOUR) == 0
    kit.owner.push("q", [record])
    assert kit.drain() == []
    kit.clock.now += HOUR + 1
    assert kit.owner.forget_handovers(HOUR) == 1


def test_forgetting_takes_many_in_stretches_and_leaves_other_queues_items_alone(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handovers, "STRETCH", 7)
    monkeypatch.setattr(desk, "STRETCH", 7)
    for queue in ("q", "r"):
        kit.owner.push(queue, [kit.record(n, flags=OUTBOX, item_id=new_id()) for n in range(20)])
    kit.clock.now += HOUR
    forgotten = [kit.owner.forget_handovers(1) for _ in range(7)]
    assert (sum(forgotten), forgotten[-1]) == (40, 0)
    assert max(forgotten) <= 14  # seven of each queue, or of all
    assert kit.counts().waiting == kit.counts("r").waiting == 20
    assert kit.owner.check() == []
