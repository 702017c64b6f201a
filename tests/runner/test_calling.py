"""A wish to stop may arrive between any two instructions of a run: nothing gets past the call of the handler."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from types import FrameType, SimpleNamespace
from typing import Any, cast

import pytest

from django_graceful.exceptions import Cancelled
from django_graceful.processes import Process
from django_graceful.runner.calling import Caller


class Stopper:
    """Takes one wish between ``begin`` and ``end``."""

    def __init__(self) -> None:
        self.open = False

    def begin(self, execution: int) -> None:
        self.open = True

    def end(self) -> None:
        self.open = False


class Moment:
    """The n-th instruction of :meth:`Caller.call` at which a wish can be heard."""

    def __init__(self, stopper: Stopper, number: int) -> None:
        self.stopper, self.left = stopper, number

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code is not Caller.call.__code__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and self.stopper.open:
            self.left -= 1
            if self.left == 0:
                raise Cancelled("cancel")
        return self


def fine(payload: Any) -> str:
    return "fine"


def wrong(payload: Any) -> None:
    raise ValueError("wrong")


@pytest.mark.parametrize("handler", [fine, wrong])
def test_a_wish_at_any_instruction_ends_the_run_and_not_the_worker(handler: Callable[[Any], Any]) -> None:
    ends = set()
    with asyncio.Runner() as runner:
        for number in range(1, 1000):
            stopper = Stopper()
            moment = Moment(stopper, number)
            process = Process("test", kind="job")
            process.end = lambda: None  # type: ignore[attr-defined]
            queue = SimpleNamespace(is_async=False)
            run: Any = SimpleNamespace(queue=queue, unit=SimpleNamespace(last=1), handler=lambda: handler)
            before = sys.gettrace()
            sys.settrace(moment)
            try:
                returned, raised = Caller(cast(Any, stopper), runner).call(run, cast(Any, process), None)
            finally:
                sys.settrace(before)
            assert not stopper.open
            ends.add("cancelled" if isinstance(raised, Cancelled) else returned or str(raised))
            if moment.left > 0:  # there are no more instructions
                break
    assert moment.left > 0
    assert number > 10
    assert ends == {"cancelled", "fine" if handler is fine else "wrong"}
