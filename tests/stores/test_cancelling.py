"""The contract of stores: cancel of many, the times of a wish, how asked runs ended. Every kind of store must pass."""

from __future__ import annotations

from typing import Any

import pytest

from django_graceful.items import RUN_ONCE, UNIQUE, UNTIL_FINISHED, Outcome, State
from django_graceful.stores.base import CancelCount, CancelOutcome, CancelReply, Ending, Progress, Wish
from tests.stores.kit import START, Kit
from tests.stores.test_orders import conserved, live


def state_of(kit: Kit, item_id: str) -> State | None:
    found = kit.owner.get(item_id)
    return None if found is None else found.state


def detail_of(kit: Kit, item_id: str) -> dict[str, Any]:
    found = kit.owner.get(item_id)
    assert found is not None
    return found.detail


def fill(kit: Kit, key: str = "") -> dict[State, str]:
    """One item in each state; the dead and the cancelled one first."""
    ids = {}
    for state, outcome in ((State.DEAD, Outcome.DEAD), (State.CANCELLED, Outcome.CANCELLED)):
        (ids[state],) = kit.push(state, key=key)
        kit.end(kit.take(), outcome)
    (ids[State.RETRYING],) = kit.push("r", key=key)
    kit.end(kit.take(), Outcome.RETRY, delay=30)
    (ids[State.RUNNING],) = kit.push("x", key=key)
    kit.take()
    (ids[State.WAITING],) = kit.push("w", key=key)
    (ids[State.SCHEDULED],) = kit.push("s", key=key, delay=30)
    return ids


def test_all_that_waits_in_any_way_is_cancelled_and_what_runs_is_asked(kit: Kit) -> None:
    ids = fill(kit)
    assert kit.owner.cancel_all("q", by="eve", reason="sale is over") == CancelCount(3, 1)
    for state in (State.WAITING, State.SCHEDULED, State.RETRYING):
        assert state_of(kit, ids[state]) is State.CANCELLED
        assert detail_of(kit, ids[state]) == {"cancelled_at": START, "by": "eve", "reason": "sale is over"}
    assert state_of(kit, ids[State.RUNNING]) is State.RUNNING
    assert [(wish.by, wish.reason) for wish in kit.owner.wishes()] == [("eve", "sale is over")]
    assert "by" not in detail_of(kit, ids[State.CANCELLED]), "it was cancelled before"
    assert state_of(kit, ids[State.DEAD]) is State.DEAD
    assert conserved(kit.counts())
    assert kit.owner.check() == []
    kit.clock.now += 100
    assert kit.drain() == []


def test_saying_it_again_asks_nobody_twice_and_the_first_wish_counts(kit: Kit) -> None:
    fill(kit)
    kit.owner.cancel_all("q", by="eve")
    assert kit.owner.cancel_all("q", by="adam") == CancelCount(0, 0)
    assert [wish.by for wish in kit.owner.wishes()] == ["eve"]


def test_other_queues_are_left_alone_and_an_unknown_one_has_nothing(kit: Kit) -> None:
    kit.push(1)
    (other,) = kit.push(2, queue="other")
    assert kit.owner.cancel_all("nobody") == CancelCount()
    assert kit.owner.cancel_all("q") == CancelCount(1)
    assert state_of(kit, other) is State.WAITING


def test_with_a_key_only_its_items_are_cancelled(kit: Kit) -> None:
    by_key = {key: [item for _ in range(2) for item in fill(kit, key).values()] for key in ("a", "ab", "")}
    waits = (State.WAITING, State.SCHEDULED, State.RETRYING)
    for key, mine in by_key.items():
        before = {item: state_of(kit, item) for items in by_key.values() for item in items}
        states = [before[item] for item in mine]
        expected = CancelCount(sum(map(states.count, waits)), states.count(State.RUNNING))
        assert expected.cancelled >= 3
        assert kit.owner.cancel_all("q", key) == expected
        cancelled = {item: State.CANCELLED for item in mine if before[item] in waits}
        assert {item: state_of(kit, item) for item in before} == before | cancelled
    assert kit.owner.cancel_all("q", "no such key") == CancelCount()


def test_a_key_as_long_as_a_number_can_say_and_longer_matches_nothing_else(kit: Kit) -> None:
    kit.push("x", key="k")
    assert kit.owner.cancel_all("q", "k" * (1 << 16)) == CancelCount()


def test_items_pushed_after_it_began_stay(kit: Kit) -> None:
    before = kit.push(*range(1500))
    first = kit.owner.cancel_some("q")
    assert first.before is not None
    young = kit.push("urgent", priority=9) + kit.push("later", delay=5)
    second = kit.owner.cancel_some("q", before=first.before)
    assert (first.cancelled + second.cancelled, second.before) == (1500, None)
    assert {state_of(kit, item_id) for item_id in before} == {State.CANCELLED}
    assert [state_of(kit, item_id) for item_id in young] == [State.WAITING, State.SCHEDULED]


def test_a_run_of_an_item_pushed_after_it_began_is_not_asked(kit: Kit) -> None:
    kit.push(*range(1500))
    first = kit.owner.cancel_some("q")
    kit.push("urgent", priority=9)
    urgent = kit.take()
    assert kit.owner.cancel_some("q", before=first.before) == CancelCount(500, 0)
    assert kit.owner.wishes() == []
    assert kit.owner.finish([urgent.execution]) == set()


@pytest.mark.parametrize("key", [None, "k"])
def test_items_that_go_from_state_to_state_between_two_stretches_are_caught(kit: Kit, key: str | None) -> None:
    (retried, leased), (due,) = kit.push("a", "b", key="k"), kit.push("c", key="k", delay=5)
    early = kit.lease(1)
    kit.push(*range(1200), key="k", priority=1)
    first = kit.owner.cancel_some("q", key)
    kit.end(early[0], Outcome.RETRY, delay=20)
    kit.clock.now += 6
    running = kit.lease(1000)
    assert len(running) > 1
    more = first
    while more.before is not None:
        more = kit.owner.cancel_some("q", key, before=more.before)
    assert state_of(kit, retried) is State.CANCELLED, "its run had been asked to stop"
    assert {wish.execution for wish in kit.owner.wishes()} >= {lease.execution for lease in running}
    assert kit.owner.release([lease.execution for lease in running]) == set()
    assert [state_of(kit, item_id) for item_id in (leased, due)] == [State.CANCELLED] * 2
    assert live(kit.counts()) == 0
    assert conserved(kit.counts())
    assert kit.owner.check() == []


def test_thousands_are_cancelled_and_the_queue_goes_on(kit: Kit) -> None:
    kit.push(*range(6500))
    kit.push(*range(1200), delay=60)
    kit.lease(300)
    assert kit.owner.cancel_all("q") == CancelCount(7400, 300)
    assert kit.owner.check() == []
    kit.push("low", priority=-1)
    kit.push("next")
    assert [kit.counts().waiting, kit.counts().running] == [2, 300]
    assert kit.drain() == ["next", "low"]


def test_the_boundary_may_be_anything(kit: Kit) -> None:
    kit.push(1, 2)
    assert kit.owner.cancel_some("q", before=-5) == CancelCount()
    assert kit.owner.cancel_some("q", before=1 << 70) == CancelCount(2)


def test_an_owner_that_dies_between_two_stretches_leaves_every_item_cancelled_or_as_it_was(kit: Kit) -> None:
    ids = kit.push(*range(1800))
    first = kit.owner.cancel_some("q")
    kit.reopen()
    states = [state_of(kit, item_id) for item_id in ids]
    assert states.count(State.CANCELLED) == first.cancelled
    assert states.count(State.WAITING) == 1800 - first.cancelled
    kit.push("younger")
    rest = kit.owner.cancel_some("q", before=first.before)
    assert (rest.cancelled, rest.before) == (1800 - first.cancelled, None)
    assert kit.drain() == ["younger"]


def test_unique_keys_are_free_when_their_items_were_cancelled(kit: Kit) -> None:
    for key, flags in (("a", UNIQUE), ("b", UNIQUE | UNTIL_FINISHED)):
        kit.push(key, key=key, flags=flags)
    assert kit.owner.cancel_all("q") == CancelCount(2)
    assert not kit.owner.has("q", "a")
    assert not kit.owner.has("q", "b")


def test_an_item_passed_over_because_its_key_runs_is_cancelled_too(kit: Kit) -> None:
    kit.push("runs", key="a", flags=UNIQUE)
    kit.take()
    (second,) = kit.push("waits", key="a", flags=UNIQUE)
    assert kit.lease(5) == []
    assert kit.owner.cancel_all("q", "a") == CancelCount(1, 1)
    assert state_of(kit, second) is State.CANCELLED
    assert kit.owner.check() == []


def test_what_runs_is_asked_also_when_it_ran_out_of_turn(kit: Kit) -> None:
    (slow,) = kit.push("slow", priority=-5)
    kit.take()
    kit.push("urgent", priority=5)
    assert kit.owner.cancel_all("q") == CancelCount(1, 1)
    assert state_of(kit, slow) is State.RUNNING
    assert kit.owner.check() == []


# The times of a wish


def test_a_running_item_shows_the_wish_and_how_far_the_ladder_has_come(kit: Kit) -> None:
    (item_id,) = kit.push("x")
    lease = kit.take()
    assert "cancel" not in detail_of(kit, item_id)
    kit.owner.request_cancel(item_id, "eve", "slow")
    wish = {"by": "eve", "reason": "slow", "asked_at": START, "stopping_at": None, "killed_at": None}
    assert detail_of(kit, item_id)["cancel"] == wish
    kit.owner.note_step(lease.execution, "stopping", START + 1)
    kit.owner.note_step(lease.execution, "stopping", START + 2)
    assert detail_of(kit, item_id)["cancel"] == wish | {"stopping_at": START + 1}
    kit.owner.note_step(lease.execution, "killed", START + 3)
    kit.owner.note_step(lease.execution, "killed", START + 4)
    assert kit.owner.page("q", State.RUNNING).items[0].detail["cancel"]["killed_at"] == START + 3


def test_the_first_who_asks_counts(kit: Kit) -> None:
    (item_id,) = kit.push("x")
    kit.take()
    kit.owner.request_cancel(item_id, "eve", "first")
    kit.clock.now += 1
    assert kit.owner.request_cancel(item_id, "adam", "second") is CancelReply.ASKED
    found = detail_of(kit, item_id)["cancel"]
    assert (found["by"], found["reason"], found["asked_at"]) == ("eve", "first", START)
    assert len(kit.owner.wishes()) == 1


@pytest.mark.parametrize("outcome", [Outcome.CANCELLED, Outcome.INTERRUPTED, Outcome.CRASHED, Outcome.RETRY])
def test_an_item_cancelled_while_it_ran_keeps_who_why_and_the_times(kit: Kit, outcome: Outcome) -> None:
    (item_id,) = kit.push("x")
    lease = kit.take()
    kit.owner.request_cancel(item_id, "eve", "slow")
    kit.owner.note_step(lease.execution, "stopping", START + 1)
    kit.owner.note_step(lease.execution, "killed", START + 3)
    kit.clock.now += 4
    kit.end(lease, outcome, reason="" if outcome is Outcome.CANCELLED else "shutdown")
    expected = {"by": "eve", "reason": "slow", "asked_at": START, "stopping_at": START + 1, "killed_at": START + 3}
    assert detail_of(kit, item_id) == expected | {"cancelled_at": START + 4}
    kit.reopen()
    assert detail_of(kit, item_id) == expected | {"cancelled_at": START + 4}


def test_an_item_that_must_not_run_twice_is_cancelled_not_dead_when_that_was_asked_for(kit: Kit) -> None:
    (item_id,) = kit.push("x", flags=RUN_ONCE)
    lease = kit.take()
    kit.owner.request_cancel(item_id)
    kit.end(lease, Outcome.CRASHED)
    assert state_of(kit, item_id) is State.CANCELLED


def test_steps_of_a_run_that_nobody_asked_to_stop_are_ignored(kit: Kit) -> None:
    (item_id,) = kit.push("x")
    lease = kit.take()
    kit.owner.note_step(lease.execution, "stopping", START)
    kit.owner.note_step(12345, "killed", START)
    assert "cancel" not in detail_of(kit, item_id)
    kit.end(lease, Outcome.CANCELLED)
    assert detail_of(kit, item_id) == {"cancelled_at": START}


def test_when_it_was_asked_survives_the_owner(kit: Kit) -> None:
    (item_id,) = kit.push("x")
    kit.take()
    kit.owner.request_cancel(item_id, "eve", "stop")
    kit.clock.now += 60
    kit.reopen()
    found = detail_of(kit, item_id)
    assert (found["asked_at"], found["cancelled_at"]) == (START, START + 60)


# How it came out


def test_how_an_asked_run_ended_is_known_also_when_its_item_is_gone(kit: Kit) -> None:
    (item_id,) = kit.push("x")
    lease = kit.take()
    assert kit.owner.cancel_outcome(item_id) is None
    kit.owner.request_cancel(item_id, "eve", "slow")
    assert kit.owner.cancel_outcome(item_id) is None, "it still runs"
    kit.owner.note_step(lease.execution, "stopping", START + 1)
    kit.clock.now += 2
    kit.done(lease)
    wish = Wish(lease.execution, "eve", "slow", START, START + 1)
    assert kit.owner.cancel_outcome(item_id) == CancelOutcome(Outcome.DONE, wish, START + 2)
    assert kit.owner.cancel_outcome(item_id.upper()) is not None
    assert kit.owner.cancel_outcome("nonsense") is None


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (Outcome.CANCELLED, Outcome.CANCELLED),
        (Outcome.RETRY, Outcome.CANCELLED),
        (Outcome.DEAD, Outcome.DEAD),
        (Outcome.DONE, Outcome.DONE),
        (None, Outcome.CANCELLED),
    ],
)
def test_what_came_first_is_told(kit: Kit, ending: Outcome | None, expected: Outcome) -> None:
    (item_id,) = kit.push("x")
    lease = kit.take()
    kit.owner.request_cancel(item_id)
    if ending is None:
        kit.owner.release([lease.execution])
    else:
        kit.owner.finish(endings=[Ending(lease.execution, ending)])
    found = kit.owner.cancel_outcome(item_id)
    assert found is not None
    assert found.outcome is expected


def test_only_the_last_run_that_was_asked_is_told_of(kit: Kit) -> None:
    (item_id,) = kit.push("x")
    lease = kit.take()
    kit.owner.request_cancel(item_id)
    kit.end(lease, Outcome.CANCELLED)
    kit.owner.retry("q", [item_id])
    again = kit.take()
    assert kit.owner.cancel_outcome(item_id) is not None
    kit.owner.request_cancel(item_id)
    assert kit.owner.cancel_outcome(item_id) is None, "the new run goes on"
    kit.done(again)
    found = kit.owner.cancel_outcome(item_id)
    assert found is not None
    assert found.outcome is Outcome.DONE


def test_the_oldest_outcomes_are_forgotten(kit: Kit) -> None:
    ids = kit.push(*range(5100))
    leases = kit.lease(5100)
    kit.owner.cancel_all("q")
    kit.owner.finish([lease.execution for lease in leases[:100]])
    kit.owner.finish([lease.execution for lease in leases[100:]])
    known = [kit.owner.cancel_outcome(item_id) is not None for item_id in ids]
    assert known == [False] * 100 + [True] * 5000


@pytest.mark.parametrize(("finished", "expected"), [(True, None), (False, State.CANCELLED)])
def test_a_wish_and_a_dead_owner_done_wins_and_everything_else_is_cancelled(
    kit: Kit, finished: bool, expected: State | None
) -> None:
    (item_id,) = kit.push("x")
    lease = kit.take()
    kit.owner.request_cancel(item_id)
    kit.reopen(lambda owner: Progress(lease.execution, lease.execution if finished else 0))
    assert state_of(kit, item_id) is expected
    assert kit.owner.wishes() == []
    found = kit.owner.cancel_outcome(item_id)
    assert found is None or found.outcome is (Outcome.DONE if finished else Outcome.CANCELLED)
