from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.db.utils import ConnectionDoesNotExist
from django.test import override_settings

from django_graceful import QueueFull, queue, signals
from django_graceful.exceptions import Cancelled, PayloadError, PayloadTooLarge, StoreUnavailable
from django_graceful.items import RUN_ONCE, UNIQUE, UNTIL_FINISHED
from django_graceful.queues import Queue
from tests.unit.conftest import FakeClock, FakeStore

STORES = {"default": {"BACKEND": "memory"}, "other": {"BACKEND": "memory"}}


def plain(**options: Any) -> Queue[Any]:
    return queue("plain", **options)(lambda payload: None)


@pytest.fixture
def received() -> Iterator[list[dict[str, Any]]]:
    """What ``signals.pushed`` said."""
    found: list[dict[str, Any]] = []

    def receive(**arguments: Any) -> None:
        found.append(arguments)

    signals.pushed.connect(receive)
    yield found
    signals.pushed.disconnect(receive)


# one item


def test_a_push_stores_one_item_and_gives_its_id(store: FakeStore, clock: FakeClock) -> None:
    item_id = plain().push({"photo": 7})
    item = store.item
    assert (item.id, item.queue, item.payload) == (item_id, "plain", {"photo": 7})
    assert (item.key, item.priority, item.attempt, item.crashes, item.flags, item.meta) == ("", 0, 0, 0, 0, {})
    assert (item.pushed_at, item.not_before) == (1_000.0, 0.0)


def test_a_push_without_a_payload_pushes_none(store: FakeStore) -> None:
    plain().push()
    assert store.item.payload is None


@pytest.mark.parametrize("payload", [None, 0, "", [], {}, False, "text", 1.5])
def test_empty_and_scalar_payloads_are_payloads(store: FakeStore, payload: Any) -> None:
    plain().push(payload)
    assert store.item.payload == payload
    assert type(store.item.payload) is type(payload)


def test_changing_the_payload_after_the_push_changes_nothing(store: FakeStore) -> None:
    payload = {"photos": [1]}
    plain().push(payload)
    payload["photos"].append(2)
    assert store.item.payload == {"photos": [1]}


@pytest.mark.parametrize("delay", [30, 30.0, timedelta(seconds=30)])
def test_a_delay_is_counted_from_now(store: FakeStore, clock: FakeClock, delay: Any) -> None:
    plain().push(delay=delay)
    assert store.item.not_before == 1_030.0


@pytest.mark.parametrize("delay", [0, -5, timedelta(seconds=-1), None])
def test_a_delay_of_nothing_or_less_is_none(store: FakeStore, delay: Any) -> None:
    plain().push(delay=delay)
    assert store.item.not_before == 0.0


@pytest.mark.parametrize(("delay", "error"), [("30", TypeError), (True, TypeError), (float("nan"), ValueError)])
def test_a_delay_that_is_no_time_is_an_error_and_pushes_nothing(
    store: FakeStore, delay: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match="a delay is"):
        plain().push(delay=delay)
    assert store.pushes == []


def test_the_priority_is_the_queues_unless_the_push_has_its_own(store: FakeStore) -> None:
    found = plain(priority=7)
    found.push()
    found.push(priority=-100)
    found.push(priority=100)
    found.push(priority=0)
    assert [item.priority for item in store.items] == [7, -100, 100, 0]


@pytest.mark.parametrize("priority", [101, -101, 1.0, "1", True])
def test_a_priority_out_of_bounds_is_an_error_and_pushes_nothing(store: FakeStore, priority: Any) -> None:
    with pytest.raises(ValueError, match="priority must be a whole number from -100 to 100"):
        plain().push(priority=priority)
    assert store.pushes == []


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ({}, 0),
        ({"unique": "queued"}, UNIQUE),
        ({"unique": "finished"}, UNIQUE | UNTIL_FINISHED),
        ({"rerun": False}, RUN_ONCE),
        ({"rerun": False, "unique": "finished"}, RUN_ONCE | UNIQUE | UNTIL_FINISHED),
    ],
)
def test_the_options_of_the_queue_travel_with_the_item(store: FakeStore, options: Any, flags: int) -> None:
    plain(**options).push()
    assert store.item.flags == flags


def test_a_payload_that_is_no_json_is_an_error_and_pushes_nothing(store: FakeStore) -> None:
    with pytest.raises(PayloadError, match=r"payload\['when'\] is a timedelta"):
        plain().push({"when": timedelta(1)})
    assert store.pushes == []


@override_settings(GRACEFUL={"STORES": STORES, "MAX_PAYLOAD": 10})
def test_a_payload_beyond_max_payload_is_an_error_and_pushes_nothing(store: FakeStore) -> None:
    found = plain()
    found.push("x" * 8)
    with pytest.raises(PayloadTooLarge):
        found.push("x" * 9)
    assert len(store.items) == 1


# keys


def test_the_key_comes_from_the_key_function(store: FakeStore) -> None:
    found = plain(unique="queued", key=lambda payload: payload["photo"])
    found.push({"photo": 7})
    found.push({"photo": "seven"})
    assert [item.key for item in store.items] == ["7", "seven"]


def test_the_caller_may_give_another_key(store: FakeStore) -> None:
    found = plain(unique="queued", key=lambda payload: 1 / 0)
    found.push({"photo": 7}, key="mine")
    found.push({"photo": 7}, key=8)
    assert [item.key for item in store.items] == ["mine", "8"]


def test_a_unique_queue_without_a_key_function_compares_payloads(store: FakeStore) -> None:
    found = plain(unique="queued")
    found.push({"a": 1, "b": 2})
    found.push({"b": 2, "a": 1})
    found.push({"a": 1, "b": 3})
    first, second, third = [item.key for item in store.items]
    assert first == second == '{"a":1,"b":2}'
    assert third != first


def test_a_queue_that_is_not_unique_stores_no_key(store: FakeStore) -> None:
    plain().push({"a": 1})
    assert store.item.key == ""


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (lambda payload: payload["photo"], r"queue 'plain': its key function raised KeyError\('photo'\)"),
        (lambda payload: None, "queue 'plain': the key is None: .*can not be told apart"),
        (lambda payload: "", "queue 'plain': the key is ''"),
        (lambda payload: "\ud800", "queue 'plain': key has a lone surrogate"),
        (lambda payload: object(), "queue 'plain': key is a object"),
        (lambda payload: "x" * 513, "queue 'plain': the key has 513 bytes, at most 512"),
    ],
)
def test_a_key_function_that_fails_is_an_error_that_names_the_queue(store: FakeStore, key: Any, message: str) -> None:
    with pytest.raises(PayloadError, match=message):
        plain(unique="queued", key=key).push({})
    assert store.pushes == []


def test_the_error_of_the_key_function_is_the_cause(store: FakeStore) -> None:
    with pytest.raises(PayloadError) as caught:
        plain(key=lambda payload: 1 / 0).push({})
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_cancel_in_the_key_function_travels_on(store: FakeStore) -> None:
    def key(payload: Any) -> str:
        raise Cancelled("shutdown")

    with pytest.raises(Cancelled):
        plain(key=key).push({})


def test_the_id_of_a_duplicate_is_that_of_the_item_already_there(store: FakeStore) -> None:
    store.answer = [b"\x01" * 16]
    assert plain(unique="queued").push({}) == "01" * 16


# many items


def test_many_items_are_pushed_in_one_write_in_order(store: FakeStore) -> None:
    ids = plain().push_many([{"n": n} for n in range(5)], delay=5, priority=3)
    assert len(store.pushes) == 1
    assert [item.id for item in store.items] == ids
    assert [item.payload["n"] for item in store.items] == [0, 1, 2, 3, 4]
    assert {item.priority for item in store.items} == {3}
    assert all(item.not_before == pytest.approx(item.pushed_at + 5) for item in store.items)


def test_payloads_may_come_from_a_generator(store: FakeStore) -> None:
    assert len(plain().push_many(n for n in range(3))) == 3


def test_a_generator_that_fails_pushes_nothing(store: FakeStore) -> None:
    def payloads() -> Iterator[int]:
        yield 1
        raise OSError("the file ends here")

    with pytest.raises(OSError, match="the file ends here"):
        plain().push_many(payloads())
    assert store.pushes == []


def test_one_bad_payload_among_many_pushes_nothing(store: FakeStore) -> None:
    with pytest.raises(PayloadError):
        plain().push_many([1, 2, {3}])
    assert store.pushes == []


@pytest.mark.parametrize("on_commit", [False, True])
def test_pushing_no_payloads_does_nothing(store: FakeStore, received: list[Any], on_commit: bool) -> None:
    assert plain().push_many([], on_commit=on_commit) == []
    assert store.pushes == []
    assert received == []


@pytest.mark.parametrize("payloads", ["abc", b"abc", {"photo": 7}])
def test_one_payload_given_as_many_is_a_type_error(store: FakeStore, payloads: Any) -> None:
    with pytest.raises(TypeError, match="push_many takes a list of payloads"):
        plain().push_many(payloads)
    assert store.pushes == []


# a full queue


@override_settings(GRACEFUL={"STORES": STORES, "LENGTH": 50})
def test_the_limit_is_the_queues_length_else_that_of_the_settings(store: FakeStore) -> None:
    plain().push()
    queue("short", length=3)(lambda payload: None).push()
    assert [limit for _, _, limit in store.pushes] == [50, 3]


def test_a_push_waits_for_room_and_then_succeeds(store: FakeStore, clock: FakeClock) -> None:
    store.full = 4
    item_id = plain().push({"n": 1})
    assert store.item.id == item_id
    assert len(clock.slept) == 4
    assert clock.slept == sorted(clock.slept)
    assert clock.slept[0] <= 0.01


def test_a_push_that_finds_no_room_raises_queue_full_after_push_timeout(store: FakeStore, clock: FakeClock) -> None:
    store.full = 10**9
    with pytest.raises(QueueFull, match="no room"):
        plain().push()
    assert sum(clock.slept) == pytest.approx(5.0)
    assert max(clock.slept) <= 0.1
    assert store.pushes == []


@override_settings(GRACEFUL={"STORES": STORES, "PUSH_TIMEOUT": 0})
def test_with_a_push_timeout_of_nothing_a_full_queue_raises_at_once(store: FakeStore, clock: FakeClock) -> None:
    store.full = 1
    with pytest.raises(QueueFull):
        plain().push()
    assert clock.slept == []


def test_more_than_the_queue_can_ever_hold_raises_at_once(store: FakeStore, clock: FakeClock) -> None:
    found = plain(length=3)
    with pytest.raises(QueueFull, match="queue 'plain' holds 3 items at most: 4 in one push never fit"):
        found.push_many(range(4))
    assert clock.slept == []
    assert len(found.push_many(range(3))) == 3


def test_a_store_that_can_not_be_reached_is_not_waited_for(
    store: FakeStore, clock: FakeClock, monkeypatch: Any
) -> None:
    def refuse(*arguments: Any) -> Any:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(store, "push", refuse)
    with pytest.raises(StoreUnavailable, match="gone"):
        plain().push()
    assert clock.slept == []


# transactions


@pytest.mark.django_db(transaction=True)
def test_a_push_on_commit_waits_for_the_commit_and_knows_its_id_before(store: FakeStore) -> None:
    with transaction.atomic():
        item_id = plain().push({"n": 1}, on_commit=True)
        assert store.pushes == []
    assert store.item.id == item_id


@pytest.mark.django_db(transaction=True)
def test_a_push_on_commit_is_forgotten_with_its_transaction(store: FakeStore) -> None:
    with transaction.atomic():
        plain().push_many([1, 2], on_commit=True)
        transaction.set_rollback(True)
    assert store.pushes == []


@pytest.mark.django_db(transaction=True)
def test_a_push_in_a_savepoint_that_rolls_back_is_forgotten_and_the_others_are_not(store: FakeStore) -> None:
    with transaction.atomic():
        plain().push("outer", on_commit=True)
        with transaction.atomic():
            plain().push("inner", on_commit=True)
            transaction.set_rollback(True)
    assert store.item.payload == "outer"


@pytest.mark.django_db(transaction=True)
def test_outside_a_transaction_a_push_on_commit_is_a_push_now(store: FakeStore) -> None:
    store.answer = [b"\x02" * 16]
    assert plain().push(on_commit=True) == "02" * 16
    assert len(store.pushes) == 1


@pytest.mark.django_db(transaction=True)
def test_on_commit_takes_the_alias_of_a_database(store: FakeStore) -> None:
    with transaction.atomic():
        plain().push(on_commit="default")
        assert store.pushes == []
    assert len(store.pushes) == 1


def test_an_unknown_database_is_an_error_and_pushes_nothing(store: FakeStore) -> None:
    with pytest.raises(ConnectionDoesNotExist, match="othr"):
        plain().push(on_commit="othr")
    assert store.pushes == []


@pytest.mark.django_db(transaction=True)
def test_a_bad_payload_is_an_error_at_the_push_not_at_the_commit(store: FakeStore) -> None:
    with transaction.atomic(), pytest.raises(PayloadError):
        plain().push({1}, on_commit=True)


@pytest.mark.django_db(transaction=True)
def test_a_full_queue_at_the_commit_surfaces_there(store: FakeStore, clock: FakeClock) -> None:
    store.full = 10**9
    block = transaction.atomic()
    block.__enter__()
    plain().push(on_commit=True)
    with pytest.raises(QueueFull):
        block.__exit__(None, None, None)
    assert sum(clock.slept) == pytest.approx(5.0)


@pytest.mark.django_db(transaction=True)
def test_a_push_on_commit_that_is_immediate_runs_at_the_commit(store: FakeStore) -> None:
    ran = []
    found = queue("now", immediate=True)(ran.append)
    with transaction.atomic():
        found.push(5, on_commit=True)
        assert ran == []
    assert ran == [5]


# async


def test_async_code_can_wait_for_a_push(store: FakeStore) -> None:
    async def main() -> list[str]:
        return [await plain().apush({"n": 1}, priority=4), *await plain().apush_many([2, 3], delay=9)]

    assert asyncio.run(main()) == [item.id for item in store.items]
    assert [item.priority for item in store.items] == [4, 0, 0]


def test_a_full_queue_does_not_hold_up_the_event_loop(store: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, room = threading.Event(), threading.Event()
    push = store.push

    def wait_for_room(*arguments: Any) -> Any:
        entered.set()
        assert room.wait(30)
        return push(*arguments)

    monkeypatch.setattr(store, "push", wait_for_room)

    async def main() -> str:
        task = asyncio.create_task(plain().apush())
        while not entered.is_set():
            await asyncio.sleep(0.001)
        room.set()  # only a loop that goes on comes here
        return await task

    assert asyncio.run(main()) == store.item.id


def test_a_plain_push_works_inside_an_event_loop(store: FakeStore) -> None:
    async def main() -> str:
        return plain().push({"n": 1})

    assert asyncio.run(main()) == store.item.id


# the signal


def test_receivers_hear_which_items_were_pushed_to_which_queue(
    store: FakeStore, received: list[dict[str, Any]]
) -> None:
    found = plain()
    ids = found.push_many([1, 2])
    [heard] = received
    assert heard == {"signal": signals.pushed, "sender": found, "item_ids": ids}


def test_receivers_hear_nothing_of_a_push_that_failed(store: FakeStore, clock: FakeClock, received: list[Any]) -> None:
    store.full = 10**9
    with pytest.raises(QueueFull):
        plain().push()
    assert received == []


def test_a_receiver_that_raises_is_logged_and_the_push_and_the_others_go_on(
    store: FakeStore, caplog: pytest.LogCaptureFixture, received: list[Any]
) -> None:
    def broken(**arguments: Any) -> None:
        raise ZeroDivisionError("broken receiver")

    signals.pushed.connect(broken)
    try:
        with caplog.at_level(logging.ERROR):
            item_id = plain().push()
    finally:
        signals.pushed.disconnect(broken)
    assert store.item.id == item_id
    assert len(received) == 1
    assert "broken receiver" in caplog.text


def test_an_async_receiver_hears_of_a_plain_push(store: FakeStore) -> None:
    heard = []

    async def receive(**arguments: Any) -> None:
        heard.append(arguments["item_ids"])

    signals.pushed.connect(receive)
    try:
        item_id = plain().push()
    finally:
        signals.pushed.disconnect(receive)
    assert heard == [[item_id]]


def test_an_async_receiver_that_can_not_be_called_is_logged_and_the_push_goes_on(
    store: FakeStore, caplog: pytest.LogCaptureFixture
) -> None:
    async def receive(**arguments: Any) -> None:
        raise AssertionError("not reached: the loop of this thread is busy with the push")

    async def main() -> str:
        return plain().push()

    signals.pushed.connect(receive)
    try:
        with caplog.at_level(logging.ERROR):
            item_id = asyncio.run(main())
    finally:
        signals.pushed.disconnect(receive)
    assert store.item.id == item_id
    assert "the receivers of pushed could not be called" in caplog.text
