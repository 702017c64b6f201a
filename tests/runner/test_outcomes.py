"""What becomes of an item: decisions on values."""

from __future__ import annotations

import pytest

from django_graceful.batches import BatchFailure
from django_graceful.exceptions import CancelProcess, Discard, Retry
from django_graceful.items import Outcome
from django_graceful.options import Options
from django_graceful.runner.batch import sort_batch
from django_graceful.runner.outcomes import failed, stopped
from django_graceful.runner.slate import Why
from django_graceful.stores.base import Ending

OPTIONS = Options(max_attempts=3, backoff=2.0, backoff_max=60.0, timeout=5.0)


def test_an_exception_waits_longer_each_time_and_then_is_dead() -> None:
    endings = [failed(1, ValueError("x"), failures, OPTIONS, 0.5) for failures in range(3)]
    assert [ending.outcome for ending in endings] == [Outcome.RETRY, Outcome.RETRY, Outcome.DEAD]
    assert [ending.delay for ending in endings] == [2.0, 4.0, 0.0]
    assert endings[-1].reason == "ValueError: x"
    assert endings[0].error is not None
    assert endings[0].error["type"] == "ValueError"


def test_retry_says_when_and_dies_with_its_reason() -> None:
    assert failed(1, Retry(7), 0, OPTIONS, 0.5).delay == 7
    assert failed(1, Retry(0), 0, OPTIONS, 0.5).delay == 0
    assert failed(1, Retry(), 0, OPTIONS, 0.5).delay == 2
    last = failed(1, Retry(7, reason="busy"), 2, OPTIONS, 0.5)
    assert (last.outcome, last.reason) == (Outcome.DEAD, "busy")


def test_discard_and_cancel_are_no_retries() -> None:
    assert failed(1, Discard("no"), 0, OPTIONS, 0.5).outcome is Outcome.DEAD
    cancelled = failed(1, CancelProcess("stop"), 0, OPTIONS, 0.5)
    assert (cancelled.outcome, cancelled.reason, cancelled.error) == (Outcome.CANCELLED, "stop", None)


def test_a_stopped_run_ends_by_why_it_was_stopped() -> None:
    assert stopped(1, Why.SHUTDOWN, 2, OPTIONS, spread=0.5).outcome is Outcome.INTERRUPTED
    assert stopped(1, Why.CANCEL, 2, OPTIONS, spread=0.5) == Ending(1, Outcome.CANCELLED)
    neighbour = stopped(1, Why.CANCEL, 2, OPTIONS, spread=0.5, batch=True)
    assert (neighbour.outcome, neighbour.error) == (Outcome.INTERRUPTED, None)
    assert stopped(1, Why.TIMEOUT, 0, OPTIONS, spread=0.5).outcome is Outcome.RETRY
    late = stopped(1, Why.TIMEOUT, 2, OPTIONS, spread=0.5)
    assert (late.outcome, late.reason) == (Outcome.DEAD, "timed out")
    assert late.error is not None
    assert late.error["message"] == "ran longer than 5 s"


def test_a_long_traceback_keeps_its_end() -> None:
    def deep(n: int) -> None:
        if n:
            deep(n - 1)
        raise ValueError("y" * 5000)

    try:
        deep(900)
    except ValueError as error:
        ending = failed(1, error, 0, OPTIONS, 0.5)
    assert ending.error is not None
    assert len(ending.error["traceback"]) <= 16_384
    assert ending.error["traceback"].rstrip().endswith("y")


@pytest.mark.parametrize("returned", [None, [], (), set()])
def test_a_batch_that_returns_nothing_is_done(returned: object) -> None:
    assert sort_batch([1, 2], returned) == [None, None]


def test_returned_payloads_are_found_by_identity_then_by_equality() -> None:
    a, b = {"n": 1}, {"n": 1}
    errors = sort_batch([a, b], [b])
    assert errors[0] is None
    assert isinstance(errors[1], Retry)
    errors = sort_batch([a, b], [{"n": 1}])
    assert isinstance(errors[0], Retry)
    assert errors[1] is None
    assert all(sort_batch([a, b], [{"n": 1}, {"n": 1}]))


def test_a_batch_failure_brings_its_own_error() -> None:
    error = Discard("bad")
    assert sort_batch([1, 2], [BatchFailure(2, error)]) == [None, error]


@pytest.mark.parametrize("returned", ["text", b"bytes", {"a": 1}, 7, True, [99]])
def test_what_is_no_list_of_its_payloads_is_the_handlers_bug_for_every_item(returned: object) -> None:
    assert [type(error) for error in sort_batch([1, 2], returned)] == [TypeError, TypeError]
