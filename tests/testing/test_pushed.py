"""What a test can ask about pushes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from unittest.mock import ANY

import pytest
from django.db import transaction
from django.test import override_settings

from django_graceful import queue
from django_graceful.exceptions import QueueFull, StoreUnavailable, UnknownQueue
from django_graceful.items import State
from django_graceful.stores import get_store
from django_graceful.stores.leveldb import LevelDBStore
from django_graceful.test import QueueBox, isolated_queues
from tests.testing.conftest import Handler


@pytest.fixture
def mail() -> Any:
    return queue("mail")(Handler().handle)


def test_what_was_pushed_is_told_in_order_with_its_terms(graceful_queues: QueueBox, mail: Any) -> None:
    first = mail.push({"to": "Ada"}, delay=timedelta(minutes=2), priority=7, timeout=3)
    second = mail.push_many(["a", "b"])
    one, *others = graceful_queues.pushed("mail")
    assert (one.queue, one.id, one.payload, one.priority, one.delay, one.timeout) == (
        "mail",
        first,
        {"to": "Ada"},
        7,
        120,
        3,
    )
    assert [other.id for other in others] == second
    assert [other.payload for other in graceful_queues.pushed(mail)] == [{"to": "Ada"}, "a", "b"]


def test_pushes_stay_in_the_list_when_they_have_run_and_duplicates_are_not_in_it(graceful_queues: QueueBox) -> None:
    once = queue("once", unique="queued")(Handler().handle)
    assert once.push(1) == once.push(1)
    graceful_queues.run_queued()
    once.push(2, key="k")
    assert [one.payload for one in graceful_queues.pushed()] == [1, 2]
    assert graceful_queues.pushed()[1].key == "k"


def test_assert_pushed_finds_by_payload_and_terms(graceful_queues: QueueBox, mail: Any) -> None:
    mail.push_many([1, 1, 2], delay=30)
    assert graceful_queues.assert_pushed("mail").payload == 1
    assert graceful_queues.assert_pushed(mail, 2, delay=30).payload == 2
    graceful_queues.assert_pushed("mail", count=3)
    graceful_queues.assert_pushed("mail", 1, count=2)
    graceful_queues.assert_pushed("mail", ANY, delay=30, count=3)
    graceful_queues.assert_not_pushed("mail", 3)
    graceful_queues.assert_not_pushed("mail", 2, delay=31)


def test_assert_pushed_says_what_was_pushed_instead(graceful_queues: QueueBox, mail: Any) -> None:
    mail.push({"to": "Ada"}, delay=30)
    with pytest.raises(AssertionError) as nothing:
        graceful_queues.assert_pushed("mail", {"to": "Bob"})
    assert str(nothing.value) == (
        "Nothing like it was pushed to 'mail': {'to': 'Bob'}.\n"
        "Pushed to 'mail' in this test: 1.\n"
        "  {'to': 'Ada'}, delay=30.0"
    )
    with pytest.raises(AssertionError, match=r"1 items were pushed, not 2\."):
        graceful_queues.assert_pushed("mail", count=2)
    with pytest.raises(AssertionError, match=r"1 items were pushed, not 0, like \{'to': 'Ada'\}\."):
        graceful_queues.assert_not_pushed("mail", {"to": "Ada"})


def test_a_misspelled_queue_or_term_is_no_proof_of_anything(graceful_queues: QueueBox, mail: Any) -> None:
    with pytest.raises(UnknownQueue, match="did you mean 'mail'"):
        graceful_queues.assert_not_pushed("mial")
    with pytest.raises(TypeError, match="has no dealy; it has: queue, id, payload"):
        graceful_queues.assert_not_pushed("mail", dealy=30)


@pytest.mark.django_db
def test_the_failure_tells_of_pushes_that_wait_for_a_commit(
    graceful_queues: QueueBox, mail: Any, django_capture_on_commit_callbacks: Any
) -> None:
    mail.push(1, on_commit=True)
    with pytest.raises(AssertionError, match=r"Pushed to 'mail' in this test: nothing\.\n1 on_commit functions wait"):
        graceful_queues.assert_pushed("mail", 1)
    with django_capture_on_commit_callbacks(execute=True):
        mail.push(2, on_commit=True)
    graceful_queues.assert_pushed("mail", 2)
    with django_capture_on_commit_callbacks(execute=True):
        roll_back(mail)
    graceful_queues.assert_not_pushed("mail", 3)


def roll_back(mail: Any) -> None:
    with transaction.atomic():
        mail.push(3, on_commit=True)
        transaction.set_rollback(True)


def test_the_failure_tells_that_a_queue_is_immediate(graceful_queues: QueueBox) -> None:
    queue("now", immediate=True)(Handler().handle).push(1)
    with pytest.raises(AssertionError, match="The queue is immediate"):
        graceful_queues.assert_pushed("now")


def test_items_tell_where_they_are(graceful_queues: QueueBox, mail: Any) -> None:
    mail.push(1)
    mail.push(2, delay=30)
    assert [(found.item.payload, found.state) for found in graceful_queues.items(mail)] == [
        (1, State.WAITING),
        (2, State.SCHEDULED),
    ]
    assert [found.item.payload for found in graceful_queues.items("mail", State.SCHEDULED)] == [2]


def test_the_sites_store_is_not_touched_whatever_the_settings_become(tmp_path: Any, mail: Any) -> None:
    stores = {"default": {"BACKEND": "leveldb", "PATH": tmp_path / "store"}}
    with override_settings(GRACEFUL={"STORES": stores}):
        outside = get_store()
        with isolated_queues() as box:
            mail.push(1)
            with override_settings(GRACEFUL={"STORES": stores, "LENGTH": 2, "PUSH_TIMEOUT": 0}):
                mail.push(2)
                with pytest.raises(QueueFull):
                    mail.push(3)
            mail.push(4)
            assert [one.payload for one in box.pushed()] == [1, 2, 4]
        assert isinstance(outside, LevelDBStore)
        assert not (tmp_path / "store").exists()
        with pytest.raises(StoreUnavailable), get_store().admin():
            pass


def test_the_stores_are_those_of_before_afterwards() -> None:
    with override_settings(GRACEFUL={"STORES": {"default": {"BACKEND": "memory"}}}):
        before = get_store()
        with isolated_queues():
            inner = get_store()
            with isolated_queues():
                assert get_store() not in (before, inner)
            assert get_store() is inner
        assert get_store() is before


def test_stores_kept_away_do_not_come_back_when_the_settings_have_changed() -> None:
    with override_settings(GRACEFUL={"STORES": {"default": {"BACKEND": "memory"}}}):
        before = get_store()
        with isolated_queues(), override_settings(GRACEFUL={"STORES": {"default": {"BACKEND": "memory"}}}):
            pass
        assert get_store() is not before


def test_each_box_is_fresh(mail: Any) -> None:
    for _ in range(2):
        with isolated_queues() as box:
            assert box.pushed() == []
            mail.push(1)
            assert len(box.items("mail")) == 1
