from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.test import override_settings

from django_graceful import CancelProcess, Discard, Retry, current_process, queue
from django_graceful.batches import BatchFailure
from django_graceful.exceptions import PayloadError
from tests.unit.conftest import FakeStore


class Recorder:
    """A handler that writes down what it gets and does what it is told, call by call."""

    def __init__(self, *does: Any) -> None:
        self.got: list[Any] = []
        self.does = list(does)

    def handle(self, payload: Any) -> Any:
        self.got.append(payload)
        found = self.does.pop(0) if self.does else None
        if isinstance(found, BaseException):
            raise found
        return found


def run(handler: Any, payloads: list[Any], **options: Any) -> list[str]:
    return queue("now", immediate=True, **options)(handler).push_many(payloads)


def test_the_handler_runs_inside_push_and_nothing_is_stored(store: FakeStore) -> None:
    recorder = Recorder()
    item_id = queue("now", immediate=True)(recorder.handle).push({"photo": 7})
    assert recorder.got == [{"photo": 7}]
    assert store.pushes == []
    assert len(item_id) == 32


def test_ids_are_given_in_order() -> None:
    ids = run(Recorder().handle, [1, 2, 3])
    assert ids == sorted(set(ids))


def test_the_payload_makes_its_round_trip_through_json() -> None:
    recorder = Recorder()
    payload = {"pair": (1, 2)}
    run(recorder.handle, [payload])
    assert recorder.got == [{"pair": [1, 2]}]
    with pytest.raises(PayloadError):
        run(recorder.handle, [{1, 2}])


def test_the_settings_can_make_a_queue_immediate() -> None:
    recorder = Recorder()
    found = queue("later")(recorder.handle)
    stores = {"default": {"BACKEND": "memory"}}
    with override_settings(GRACEFUL={"STORES": stores, "QUEUES": {"later": {"IMMEDIATE": True}}}):
        found.push(5)
    assert recorder.got == [5]


def test_an_exception_of_the_handler_reaches_the_caller_of_push_and_nothing_more_runs() -> None:
    recorder = Recorder(None, ZeroDivisionError("broken"))
    with pytest.raises(ZeroDivisionError, match="broken"):
        run(recorder.handle, [1, 2, 3])
    assert recorder.got == [1, 2]


def test_retry_runs_again_at_once() -> None:
    recorder = Recorder(Retry(3600), Retry())
    run(recorder.handle, ["x"])
    assert recorder.got == ["x", "x", "x"]


def test_retry_reaches_the_caller_when_no_attempt_is_left() -> None:
    recorder = Recorder(*[Retry(reason="busy")] * 9)
    with pytest.raises(Retry, match="busy"):
        run(recorder.handle, ["x"], max_attempts=3)
    assert recorder.got == ["x"] * 3


@pytest.mark.parametrize("word", [Discard("never"), CancelProcess("no")])
def test_discard_and_cancel_end_one_item_and_the_next_one_runs(word: Exception) -> None:
    recorder = Recorder(word)
    run(recorder.handle, [1, 2])
    assert recorder.got == [1, 2]


def test_an_async_handler_runs_too() -> None:
    got = []

    async def handle(payload: Any) -> None:
        await asyncio.sleep(0)
        got.append((payload, current_process() is not None))

    run(handle, [1, 2])
    assert got == [(1, True), (2, True)]


def test_an_async_handler_runs_for_async_code() -> None:
    got = []

    async def handle(payload: Any) -> None:
        got.append(payload)

    asyncio.run(queue("now", immediate=True)(handle).apush(5))
    assert got == [5]


def test_the_handler_finds_a_current_process_as_in_a_worker() -> None:
    seen = []

    def handle(payload: Any) -> None:
        found = current_process()
        assert found is not None
        found.check()
        found.progress(1, 2, "half")
        seen.append(found.description)

    run(handle, [1])
    assert seen == ["now: 1 items"]
    assert current_process() is None


# batches


def test_a_batch_queue_gets_lists_of_the_length_it_declares() -> None:
    recorder = Recorder()
    run(recorder.handle, [1, 2, 3, 4, 5], batch_length=2)
    assert recorder.got == [[1, 2], [3, 4], [5]]


def test_a_single_push_to_a_batch_queue_is_a_list_of_one() -> None:
    recorder = Recorder()
    queue("now", immediate=True, batch_length=9)(recorder.handle).push("x")
    assert recorder.got == [["x"]]


def test_what_a_batch_handler_returns_runs_again_and_nothing_else() -> None:
    recorder = Recorder([2, 3], [3])
    run(recorder.handle, [1, 2, 3], batch_length=9)
    assert recorder.got == [[1, 2, 3], [2, 3], [3]]


def test_what_no_attempt_could_handle_reaches_the_caller() -> None:
    recorder = Recorder(*[["x"]] * 9)
    with pytest.raises(Retry, match="returned as not handled"):
        run(recorder.handle, ["x"], batch_length=9, max_attempts=2)
    assert recorder.got == [["x"], ["x"]]


def test_a_failure_of_one_payload_ends_with_its_own_error() -> None:
    recorder = Recorder([BatchFailure("b", Discard("bad address")), BatchFailure("c", OSError("busy"))])
    run(recorder.handle, ["a", "b", "c"], batch_length=9)
    assert recorder.got == [["a", "b", "c"], ["c"]]


def test_the_error_of_one_payload_reaches_the_caller_when_no_attempt_is_left() -> None:
    recorder = Recorder([BatchFailure("c", OSError("busy"))])
    with pytest.raises(OSError, match="busy"):
        run(recorder.handle, ["a", "c"], batch_length=9, max_attempts=1)


def test_a_batch_handler_that_returns_what_it_did_not_get_fails() -> None:
    with pytest.raises(TypeError, match="not in its batch"):
        run(Recorder(["z"]).handle, ["a"], batch_length=9, max_attempts=1)


@pytest.mark.parametrize("word", [Discard("never"), CancelProcess("no")])
def test_discard_and_cancel_end_the_whole_batch(word: Exception) -> None:
    recorder = Recorder(word)
    run(recorder.handle, [1, 2], batch_length=9)
    assert recorder.got == [[1, 2]]


def test_an_exception_of_a_batch_handler_reaches_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        run(Recorder(ZeroDivisionError()).handle, [1, 2], batch_length=9)
