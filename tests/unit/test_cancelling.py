"""Cancel from code: what a queue can be told about its items, by whom it is carried out, and what it raises."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from django_graceful import Queue, queue
from django_graceful.exceptions import PayloadError, StoreUnavailable
from django_graceful.items import State
from django_graceful.stores import get_store
from django_graceful.stores.base import CancelCount, CancelReply


@pytest.fixture
def mail(settings: Any) -> Queue[Any]:
    settings.GRACEFUL = {"STORES": {"default": {"BACKEND": "memory"}, "other": {"BACKEND": "memory"}}}
    return queue("mail", key=lambda payload: payload)(lambda payload: None)


def state_of(item_id: str, store: str = "default") -> Any:
    with get_store(store).admin() as admin:
        found = admin.get(item_id)
    return found and (found.state, found.detail.get("by"), found.detail.get("reason"))


def test_one_item_is_cancelled_with_who_and_why(mail: Queue[Any]) -> None:
    first, second = mail.push_many(["a", "b"])
    assert mail.cancel(first, by="eve", reason="why") is CancelReply.CANCELLED
    assert state_of(first) == (State.CANCELLED, "eve", "why")
    assert state_of(second) == (State.WAITING, None, None)
    assert mail.cancel(first) is CancelReply.UNKNOWN
    assert mail.cancel("no id at all") is CancelReply.UNKNOWN


def test_an_item_of_another_queue_is_unknown_and_stays(mail: Queue[Any]) -> None:
    news: Queue[Any] = queue("news")(lambda payload: None)
    item_id = news.push(1)
    assert mail.cancel(item_id) is CancelReply.UNKNOWN
    assert state_of(item_id) == (State.WAITING, None, None)


def test_all_are_cancelled_or_those_of_a_key_which_may_be_a_number(mail: Queue[Any]) -> None:
    ids = mail.push_many([7, 7, 8, "7"])
    assert mail.cancel_all(key=7, by="eve", reason="why") == CancelCount(3)
    assert state_of(ids[0]) == (State.CANCELLED, "eve", "why")
    assert state_of(ids[2]) == (State.WAITING, None, None)
    assert mail.cancel_all() == CancelCount(1)
    assert mail.cancel_all() == CancelCount(0)


def test_an_empty_key_is_refused_as_in_a_push(mail: Queue[Any]) -> None:
    with pytest.raises(PayloadError, match="the key is ''"):
        mail.cancel_all(key="")


def test_async_code_has_the_same(mail: Queue[Any]) -> None:
    first, _ = mail.push_many(["a", "b"])

    async def both() -> tuple[CancelReply, CancelCount]:
        return await mail.acancel(first, by="eve", reason="why"), await mail.acancel_all(key="b", by="x", reason="y")

    assert asyncio.run(both()) == (CancelReply.CANCELLED, CancelCount(1))
    assert state_of(first) == (State.CANCELLED, "eve", "why")


def test_the_queue_s_own_store_is_asked(mail: Queue[Any]) -> None:
    elsewhere: Queue[Any] = queue("elsewhere", store="other")(lambda payload: None)
    item_id = elsewhere.push(1)
    assert elsewhere.cancel(item_id, by="eve") is CancelReply.CANCELLED
    assert state_of(item_id, "other") == (State.CANCELLED, "eve", None)


def test_without_a_runner_it_says_so_and_the_item_waits(store_path: Path) -> None:
    late: Queue[Any] = queue("late")(lambda payload: None)
    item_id = late.push(1)
    for order in (lambda: late.cancel(item_id), late.cancel_all):
        with pytest.raises(StoreUnavailable, match=r"no runner runs .* manage.py runqueues"):
            order()
    with get_store().admin(alone=True) as admin:
        assert admin.counts()["late"].waiting == 1
