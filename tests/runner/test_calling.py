"""A wish to stop may arrive when the handler has ended: nothing gets past the call of the handler."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from django_graceful.exceptions import Cancelled
from django_graceful.processes import Process
from django_graceful.runner.calling import Caller


class Late:
    """A stopper whose signal arrives while it is told of the end; once, as the real one raises once."""

    def __init__(self) -> None:
        self.ends = 0

    def begin(self, execution: int) -> None:
        pass

    def end(self) -> None:
        self.ends += 1
        if self.ends == 1:
            raise Cancelled("cancel")


def called(handler: Any) -> tuple[Any, BaseException | None]:
    process = Process("test", kind="job")
    process.end = lambda: None  # type: ignore[attr-defined]
    stopper = Late()
    with asyncio.Runner() as runner:
        queue: Any = SimpleNamespace(is_async=False, handler=handler)
        found = Caller(cast(Any, stopper), runner).call(queue, 1, cast(Any, process), None)
    assert stopper.ends == 2
    return found


def test_what_the_handler_returned_counts() -> None:
    assert called(lambda payload: "fine") == ("fine", None)


@pytest.mark.parametrize("error", [ValueError("wrong"), SystemExit(1), Cancelled("cancel")])
def test_what_the_handler_raised_counts(error: BaseException) -> None:
    def fails(payload: Any) -> None:
        raise error

    assert called(fails) == (None, error)
