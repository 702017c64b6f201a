"""The contract of stores: unique keys (promise P7). Every kind of store must pass."""

from __future__ import annotations

import json

import pytest

from django_graceful.exceptions import QueueFull
from django_graceful.items import UNIQUE, UNTIL_FINISHED, Outcome, State, encode_meta, id_of
from django_graceful.stores.base import CancelReply, Ending
from tests.redis.kit import RedisKit
from tests.stores.kit import Kit, payload

QUEUED = UNIQUE
FINISHED = UNIQUE | UNTIL_FINISHED
both = pytest.mark.parametrize("flags", [QUEUED, FINISHED])


@both
def test_a_duplicate_of_a_waiting_item_changes_nothing_and_names_that_item(kit: Kit, flags: int) -> None:
    first = kit.push("a", key="k", flags=flags)
    assert kit.push("b", key="k", flags=flags) == first
    assert (kit.counts().pushed, kit.counts().duplicates, kit.counts().waiting) == (1, 1, 1)
    assert kit.drain() == ["a"]


@both
def test_duplicates_within_one_push_are_one_item(kit: Kit, flags: int) -> None:
    first, second, third = kit.push("a", "b", "c", key="k", flags=flags)
    assert first == second == third
    assert kit.drain() == ["a"]


@both
@pytest.mark.parametrize("delay", [0, 60])
def test_the_key_is_taken_while_the_item_waits(kit: Kit, flags: int, delay: float) -> None:
    kit.push("a", key="k", flags=flags, delay=delay)
    assert kit.owner.has("q", "k")
    assert not kit.owner.has("q", "other")
    assert not kit.owner.has("other", "k")
    assert kit.reopen().has("q", "k")


@both
def test_the_key_is_taken_while_the_item_retries(kit: Kit, flags: int) -> None:
    (item_id,) = kit.push("a", key="k", flags=flags)
    kit.end(kit.take(), Outcome.RETRY, delay=60)
    assert kit.owner.has("q", "k")
    assert kit.push("b", key="k", flags=flags) == [item_id]


def test_a_push_while_one_runs_is_a_fresh_item_but_the_two_never_run_together(kit: Kit) -> None:
    kit.push("a", key="k", flags=QUEUED)
    running = kit.take()
    assert not kit.owner.has("q", "k")
    kit.push("b", key="k", flags=QUEUED)
    kit.push("other", key="l", flags=QUEUED)
    assert [payload(lease) for lease in kit.lease(5)] == ["other"]
    assert kit.lease(5) == []
    assert kit.owner.ready() == {}
    kit.done(running)
    assert kit.owner.ready() == {"q": 1}
    assert kit.drain() == ["b"]


def test_with_unique_until_finished_the_key_is_taken_while_it_runs(kit: Kit) -> None:
    (item_id,) = kit.push("a", key="k", flags=FINISHED)
    running = kit.take()
    assert kit.owner.has("q", "k")
    assert kit.push("b", key="k", flags=FINISHED) == [item_id]
    kit.done(running)
    assert not kit.owner.has("q", "k")
    kit.push("c", key="k", flags=FINISHED)
    assert kit.drain() == ["c"]


@both
@pytest.mark.parametrize("outcome", [Outcome.DONE, Outcome.DEAD, Outcome.CANCELLED])
def test_the_key_is_free_when_the_item_has_ended(kit: Kit, flags: int, outcome: Outcome) -> None:
    kit.push("a", key="k", flags=flags)
    kit.end(kit.take(), outcome)
    assert not kit.owner.has("q", "k")
    kit.push("b", key="k", flags=flags)
    assert kit.drain() == ["b"]


@both
def test_an_item_that_comes_back_takes_its_key_again(kit: Kit, flags: int) -> None:
    (item_id,) = kit.push("a", key="k", flags=flags)
    for outcome in (Outcome.INTERRUPTED, Outcome.CRASHED):
        kit.end(kit.take(), outcome)
        assert kit.push("b", key="k", flags=flags) == [item_id]
    kit.owner.release([kit.take().execution])
    assert kit.push("b", key="k", flags=flags) == [item_id]
    kit.lease()
    kit.reopen()
    assert kit.push("b", key="k", flags=flags) == [item_id]
    assert kit.drain() == ["a"]


def test_an_item_that_comes_back_leaves_its_key_to_the_younger_one(kit: Kit) -> None:
    kit.push("old", key="k", flags=QUEUED)
    lease = kit.take()
    (young,) = kit.push("young", key="k", flags=QUEUED)
    kit.end(lease, Outcome.RETRY, delay=1)
    assert kit.push("third", key="k", flags=QUEUED) == [young]
    kit.clock.now += 1
    first = kit.lease(5)
    assert [payload(found) for found in first] == ["old"]
    assert kit.push("third", key="k", flags=QUEUED) == [young]
    kit.done(first[0])
    assert kit.owner.has("q", "k")
    assert kit.drain() == ["young"]
    assert not kit.owner.has("q", "k")


def test_items_of_one_key_in_one_lease_are_handed_out_one_after_the_other(kit: Kit) -> None:
    kit.push("a", key="k", flags=QUEUED)
    kit.owner.finish(endings=[])
    lease = kit.take()
    kit.push("b", key="k", flags=QUEUED)
    kit.owner.release([lease.execution])
    kit.push("c", key="l", flags=QUEUED)
    (first, other) = kit.lease(10)
    assert [payload(first), payload(other)] == ["a", "c"]
    kit.owner.finish([first.execution, other.execution])
    assert kit.drain() == ["b"]


def test_passed_over_items_keep_their_place(kit: Kit) -> None:
    kit.push("a", key="k", flags=QUEUED)
    running = kit.take()
    kit.push("b", key="k", flags=QUEUED)
    kit.push("x", "y", "z")
    assert payload(kit.take()) == "x"
    kit.done(running)
    assert [payload(lease) for lease in kit.lease(5)] == ["b", "y", "z"]


def test_all_that_were_passed_over_wait_in_their_places_when_the_run_ends(kit: Kit) -> None:
    kit.push("a", key="k", flags=QUEUED)
    first = kit.take()
    kit.push("b", key="k", flags=QUEUED)
    kit.end(first, Outcome.RETRY, delay=5)
    second = kit.take()
    kit.push("c", key="k", flags=QUEUED)
    kit.owner.release([second.execution])
    kit.clock.now += 5
    running = kit.take()
    assert payload(running) == "a"
    assert kit.lease(5) == []
    assert kit.counts().waiting == 2
    kit.done(running)
    assert kit.drain() == ["b", "c"]
    assert kit.owner.check() == []


def test_passed_over_items_survive_a_crash(kit: Kit) -> None:
    kit.push("a", key="k", flags=QUEUED)
    kit.take()
    kit.push("b", key="k", flags=QUEUED)
    assert kit.lease(5) == []
    kit.reopen()
    assert kit.drain() == ["a", "b"]


def test_a_passed_over_item_can_be_cancelled(kit: Kit) -> None:
    kit.push("a", key="k", flags=QUEUED)
    running = kit.take()
    (item_id,) = kit.push("b", key="k", flags=QUEUED)
    assert kit.lease(5) == []
    assert kit.owner.request_cancel(item_id) is CancelReply.CANCELLED
    assert not kit.owner.has("q", "k")
    kit.done(running)
    assert kit.drain() == []
    assert kit.owner.check() == []


@both
def test_cancelling_and_discarding_frees_the_key(kit: Kit, flags: int) -> None:
    (item_id,) = kit.push("a", key="k", flags=flags)
    kit.owner.request_cancel(item_id)
    assert not kit.owner.has("q", "k")
    kit.push("b", key="k", flags=flags, delay=5)
    assert kit.owner.discard("q", State.SCHEDULED) == 1
    assert not kit.owner.has("q", "k")
    assert kit.owner.check() == []


def test_ending_a_keyless_item_leaves_the_younger_ones_key_alone(kit: Kit) -> None:
    (old,) = kit.push("old", key="k", flags=QUEUED)
    lease = kit.take()
    (young,) = kit.push("young", key="k", flags=QUEUED)
    kit.owner.release([lease.execution])
    assert kit.owner.request_cancel(old) is CancelReply.CANCELLED
    assert kit.push("third", key="k", flags=QUEUED) == [young]


def test_a_retried_dead_item_whose_key_is_taken_is_merged_and_counts(kit: Kit) -> None:
    (dead,) = kit.push("dead", key="k", flags=QUEUED)
    kit.end(kit.take(), Outcome.DEAD)
    (live,) = kit.push("live", key="k", flags=QUEUED)
    assert kit.owner.retry("q") == 1
    assert kit.owner.get(dead) is None
    assert (kit.counts().dead, kit.counts().waiting) == (0, 1)
    assert kit.owner.get(live) is not None
    assert kit.drain() == ["live"]
    assert kit.owner.check() == []


def test_of_two_dead_items_of_one_key_a_retry_brings_back_one(kit: Kit) -> None:
    for name in ("a", "b"):
        kit.push(name, key="k", flags=QUEUED)
        kit.end(kit.take(), Outcome.DEAD)
    assert kit.owner.retry("q") == 2
    assert kit.drain() == ["a"]


def test_one_call_may_end_one_item_and_give_its_key_to_another(kit: Kit) -> None:
    kit.push("a", key="k", flags=FINISHED)
    first = kit.take()
    kit.push("x", key="l", flags=QUEUED)
    second = kit.take()
    kit.owner.finish([first.execution], [Ending(second.execution, Outcome.INTERRUPTED)])
    assert (kit.owner.has("q", "k"), kit.owner.has("q", "l")) == (False, True)


def test_a_duplicate_needs_no_room_in_a_full_queue(kit: Kit) -> None:
    first = kit.push("a", key="k", flags=QUEUED, limit=1)
    assert kit.push("b", key="k", flags=QUEUED, limit=1) == first
    with pytest.raises(QueueFull):
        kit.push("c", key="l", flags=QUEUED, limit=1)
    assert not kit.owner.has("q", "l")


def test_a_key_means_nothing_where_the_queue_is_not_unique(kit: Kit) -> None:
    kit.push("a", "b", key="k")
    assert not kit.owner.has("q", "k")
    assert len(kit.lease(5)) == 2


def test_keys_may_be_any_text(kit: Kit) -> None:
    for key in ("", "ключ", "a\0b", "k" * 512):
        kit.push(key, key=key, flags=QUEUED)
        assert kit.owner.has("q", key)
    assert len(kit.drain()) == 4


def test_a_duplicate_that_asks_for_it_leaves_under_its_id_which_item_it_was_merged_into(kit: Kit) -> None:
    (first,) = kit.push("x", key="k", flags=UNIQUE)
    asks = encode_meta({"follow": 60})
    records = [kit.record("x", key="k", flags=UNIQUE, meta=meta) for meta in (asks, b"", encode_meta({"follow": "x"}))]
    answers = kit.owner.push("q", records)
    assert [answer.hex() for answer in answers] == [first] * 3
    left = [kit.owner.result(id_of(record).hex()) for record in records]
    assert left[1:] == [None, None]
    if left[0] is not None:  # redis has no need of it: whoever pushes gets the other id at once
        assert json.loads(left[0]["result"]) == {"same_as": first}
        kit.clock.now += 60
        assert kit.owner.result(id_of(records[0]).hex()) is None
    assert (left[0] is None) == isinstance(kit, RedisKit)
