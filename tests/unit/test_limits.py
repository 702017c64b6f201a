"""Threads and times: the option ``threads``, and a time limit of one item."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from django_graceful import queue
from django_graceful.items import HEADER, TIMED, decode_item, encode_meta, encode_record, limit_of, new_id
from django_graceful.options import Options, coerce
from django_graceful.queues import Queue
from tests.unit.conftest import FakeStore

STORES = {"default": {"BACKEND": "memory"}}


def plain(**options: Any) -> Queue[Any]:
    return queue("plain", **options)(lambda payload: None)


def record(timeout: Any = None, *, flags: int = TIMED, meta: bytes | None = None) -> bytes:
    if meta is None:
        meta = b"" if timeout is None else encode_meta({"timeout": timeout})
    return encode_record(new_id(), b"{}", pushed_at=1, flags=flags if meta else 0, meta=meta)


# threads


def test_one_item_at_a_time_is_the_default() -> None:
    assert Options().threads == 1


@pytest.mark.parametrize("threads", [1, 8, 100])
def test_threads_are_one_to_a_hundred(threads: int) -> None:
    assert coerce("threads", threads) == threads


@pytest.mark.parametrize("threads", [0, 101, -1, 2.0, "2", True, None])
def test_other_numbers_of_threads_are_an_error(threads: Any) -> None:
    with pytest.raises(ValueError, match="from 1 to 100"):
        coerce("threads", threads)


def test_threads_with_batches_are_an_error_where_they_are_declared() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"'plain'.*threads=2 and batch_length=2 do not go together"):
        plain(threads=2, batch_length=2)
    assert plain(threads=1, batch_length=2).options.batch_length == 2


@override_settings(GRACEFUL={"STORES": STORES, "QUEUES": {"plain": {"THREADS": 3}}})
def test_the_settings_may_change_the_threads() -> None:
    assert plain(threads=2).options.threads == 3


@override_settings(GRACEFUL={"STORES": STORES, "QUEUES": {"plain": {"THREADS": 3}}})
def test_settings_that_give_threads_to_a_batch_queue_are_an_error_of_the_checks_and_of_the_push() -> None:
    found = plain(batch_length=5)
    messages = [message for message in run_checks(tags=["django_graceful"]) if message.id == "django_graceful.E009"]
    assert len(messages) == 1
    assert "Queue 'plain'" in messages[0].msg
    assert "threads=3 and batch_length=5" in messages[0].msg
    with pytest.raises(ImproperlyConfigured, match="GRACEFUL"):
        found.push()


@override_settings(GRACEFUL={"STORES": STORES, "QUEUES": {"plain": {"THREADS": 3}}})
def test_such_a_queue_does_not_break_the_checks_for_a_deployment() -> None:
    plain(batch_length=5)
    assert run_checks(tags=["django_graceful"], include_deployment_checks=True)


# a time of one item


@pytest.mark.parametrize(("given", "kept"), [(30, 30.0), (0.5, 0.5), (timedelta(minutes=1), 60.0)])
def test_a_timeout_travels_with_its_item(store: FakeStore, given: Any, kept: float) -> None:
    plain().push({"n": 1}, timeout=given)
    assert store.item.flags == TIMED
    assert store.item.meta == {"timeout": kept}
    assert store.item.payload == {"n": 1}


def test_without_a_timeout_an_item_has_no_flag_and_no_meta(store: FakeStore) -> None:
    plain(timeout=60).push(timeout=None)
    assert (store.item.flags, store.item.meta) == (0, {})


def test_each_of_many_has_the_timeout(store: FakeStore) -> None:
    plain(unique="queued").push_many([1, 2], timeout=7)
    assert [item.meta for item in store.items] == [{"timeout": 7.0}] * 2
    assert all(item.flags & TIMED for item in store.items)


@pytest.mark.parametrize("timeout", [0, -1, "5", True, float("nan"), float("inf"), 1e9])
def test_a_timeout_that_is_no_time_is_an_error_and_pushes_nothing(store: FakeStore, timeout: Any) -> None:
    with pytest.raises(ValueError, match="timeout must be a number of seconds"):
        plain().push(timeout=timeout)
    assert store.pushes == []


@pytest.mark.parametrize(
    ("own", "queues", "limit"),
    [
        ([None], None, None),
        ([None], 5.0, 5.0),
        ([2.0], None, 2.0),
        ([2.0], 5.0, 2.0),
        ([9.0], 5.0, 9.0),
        ([2.0, 3.0], 5.0, 3.0),
        ([2.0, None], 5.0, 5.0),
        ([7.0, None], 5.0, 7.0),
        ([2.0, None], None, None),
    ],
)
def test_a_run_may_take_as_long_as_the_most_patient_of_its_items(own: list[Any], queues: Any, limit: Any) -> None:
    assert limit_of([record(timeout) for timeout in own], queues) == limit


@pytest.mark.parametrize(
    "meta", [b"{", b"[]", b"{}", b'{"timeout":"5"}', b'{"timeout":0}', b'{"timeout":-1}', b'{"timeout":1e10}']
)
def test_a_damaged_time_counts_as_none_of_its_own(meta: bytes) -> None:
    assert limit_of([record(meta=meta)], 5.0) == 5.0


def test_a_time_without_its_flag_is_not_looked_for() -> None:
    assert limit_of([record(3.0, flags=0)], 5.0) == 5.0


@given(st.binary(min_size=HEADER.size, max_size=HEADER.size + 20))
def test_whatever_the_record_is_a_limit_is_found(data: bytes) -> None:
    assert limit_of([bytes([1, TIMED]) + data[2:]], 5.0)


def test_errors_that_are_added_later_leave_the_timeout_where_it_is() -> None:
    from django_graceful.items import Outcome, decode_header
    from django_graceful.stores.engine.fates import Rules, decide
    from django_graceful.stores.values import Ending

    before = record(3.0)
    fate = decide(before, Ending(1, Outcome.RETRY, error={"type": "X"}), None, Rules(now=5, max_crashes=3))
    assert decode_header(fate.record).flags & TIMED
    assert limit_of([fate.record], None) == 3.0
    assert len(decode_item("plain", fate.record).errors) == 1
