"""Batch handlers of immediate queues: what they return as not handled runs again, inside ``push``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from django_graceful import CancelProcess, Discard, Queue, Retry
from django_graceful.batches import BatchFailure
from django_graceful.options import Options


class Handler:
    """Does with each call what the test says; keeps what it got."""

    def __init__(self, *answers: Callable[[list[Any]], Any]) -> None:
        self.answers = list(answers)
        self.calls: list[list[Any]] = []

    def __call__(self, payloads: list[Any]) -> Any:
        self.calls.append(payloads)
        return self.answers.pop(0)(payloads) if self.answers else None


def push(handler: Handler, *payloads: Any, attempts: int = 3, size: int = 10) -> None:
    options = Options(batch_length=size, max_attempts=attempts, immediate=True)

    def handle(batch: list[Any]) -> Any:
        return handler(batch)

    Queue("immediate", handle, options, None).push_many(payloads)


def failing(error: BaseException, *numbers: int) -> Callable[[list[Any]], Any]:
    return lambda payloads: [BatchFailure(payload, error) for payload in payloads if payload in numbers]


def test_batches_are_as_long_as_the_queue_says() -> None:
    handler = Handler()
    push(handler, 1, 2, 3, 4, 5, size=2)
    assert handler.calls == [[1, 2], [3, 4], [5]]


def test_returned_payloads_run_again() -> None:
    handler = Handler(lambda payloads: payloads[1:], lambda payloads: payloads[1:])
    push(handler, 1, 2, 3)
    assert handler.calls == [[1, 2, 3], [2, 3], [3]]


@pytest.mark.parametrize("error", [Discard("no"), CancelProcess("no")], ids=repr)
def test_what_is_discarded_or_cancelled_does_not_run_again(error: Exception) -> None:
    handler = Handler(lambda payloads: [BatchFailure(payloads[0], error), payloads[1]])
    push(handler, 1, 2, 3)
    assert handler.calls == [[1, 2, 3], [2]]


@pytest.mark.parametrize("error", [ValueError("bad"), Retry(60)], ids=repr)
def test_the_error_of_a_payload_is_raised_when_no_attempt_is_left(error: Exception) -> None:
    handler = Handler(*[failing(error, 2)] * 3)
    with pytest.raises(type(error)) as caught:
        push(handler, 1, 2, 3)
    assert caught.value is error
    assert handler.calls == [[1, 2, 3], [2], [2]]


def test_returning_payloads_for_ever_is_an_error_in_the_end() -> None:
    handler = Handler(*[list] * 3)
    with pytest.raises(Retry):
        push(handler, 1)
    assert len(handler.calls) == 3


def test_retry_raised_by_the_handler_runs_the_whole_batch_again() -> None:
    def again(payloads: list[Any]) -> None:
        raise Retry

    handler = Handler(again)
    push(handler, 1, 2)
    assert handler.calls == [[1, 2], [1, 2]]


def test_any_other_exception_of_the_handler_reaches_the_caller_at_once() -> None:
    def broken(payloads: list[Any]) -> None:
        raise KeyError("bug")

    handler = Handler(broken)
    with pytest.raises(KeyError):
        push(handler, 1)
    assert len(handler.calls) == 1


def test_a_handler_may_change_the_list_it_got() -> None:
    handler = Handler(lambda payloads: [payloads.pop()])
    push(handler, 1, 2)
    assert handler.calls[1] == [2]
