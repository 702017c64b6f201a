from __future__ import annotations

import inspect
import pickle
from datetime import timedelta

import pytest

from django_graceful import exceptions
from django_graceful.exceptions import Cancelled, CancelProcess, Discard, GracefulError, Retry, StoreLocked

CLASSES = [found for _, found in inspect.getmembers(exceptions, inspect.isclass) if issubclass(found, BaseException)]


def test_except_exception_in_a_handler_does_not_swallow_cancelled() -> None:
    assert not issubclass(Cancelled, Exception)


@pytest.mark.parametrize("word", [Retry, Discard, CancelProcess])
def test_what_a_handler_raises_on_purpose_is_no_error_of_a_caller(word: type[Exception]) -> None:
    assert not issubclass(word, GracefulError)


@pytest.mark.parametrize("found", CLASSES, ids=lambda found: found.__name__)
def test_every_error_is_explained(found: type[BaseException]) -> None:
    assert found.__doc__


@pytest.mark.parametrize(
    ("delay", "seconds"), [(None, None), (0, 0.0), (1.5, 1.5), (timedelta(minutes=2), 120.0), (-3, 0.0)]
)
def test_the_delay_of_a_retry_is_seconds(delay: object, seconds: float | None) -> None:
    assert Retry(delay).delay == seconds  # type: ignore[arg-type]


@pytest.mark.parametrize("delay", ["soon", True, [1]])
def test_a_retry_with_a_delay_that_is_no_time_is_a_type_error(delay: object) -> None:
    with pytest.raises(TypeError, match="a number of seconds or a timedelta"):
        Retry(delay)  # type: ignore[arg-type]


@pytest.mark.parametrize("delay", [float("nan"), float("inf"), 1e12])
def test_a_retry_with_a_delay_without_end_is_a_value_error(delay: float) -> None:
    with pytest.raises(ValueError, match="at most"):
        Retry(delay)


def test_a_retry_reads_as_its_reason() -> None:
    assert str(Retry(5, "the server is busy")) == "the server is busy"
    assert str(Retry()) == ""


@pytest.mark.parametrize(
    ("error", "attributes"),
    [
        (Retry(timedelta(seconds=3), "later"), {"delay": 3.0, "reason": "later"}),
        (Discard("never"), {"reason": "never"}),
        (CancelProcess("no"), {"reason": "no"}),
        (Cancelled("timeout"), {"reason": "timeout"}),
        (StoreLocked("held", 17), {"pid": 17}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_keeps_its_facts_when_pickled(error: BaseException, attributes: dict[str, object]) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert {name: getattr(copy, name) for name in attributes} == attributes
