"""Calling a handler so that it can be stopped: sync in this thread, async in an event loop that is kept for the
worker's life.

Whatever it raises is given back, ``SystemExit`` included; nothing gets past :meth:`Caller.call`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, Protocol

from django_graceful.exceptions import Cancelled
from django_graceful.processes import entered
from django_graceful.queues import Queue
from django_graceful.runner.jobs import JobProcess
from django_graceful.runner.stopping import Stopper
from django_graceful.runner.wire import Unit


class Runnable(Protocol):
    """What can be called (:class:`~django_graceful.runner.executing.Execution`)."""

    unit: Unit
    queue: Queue[Any]

    def handler(self) -> Callable[[Any], Any]:
        """The handler, to be called once."""


#: What a handler returned, or what it raised.
Result = tuple[Any, BaseException | None]


class Caller:
    """Calls handlers, one at a time."""

    def __init__(self, stopper: Stopper, runner: asyncio.Runner) -> None:
        self._stopper = stopper
        self._runner = runner

    def call(self, run: Runnable, process: JobProcess, argument: Any) -> Result:
        """What the handler returned, or what it raised."""
        stopper, handler = self._stopper, run.handler()
        result: Result | None = None
        try:
            try:
                stopper.begin(run.unit.last)  # what a wish to stop would name
                result = self._enter(run.queue, handler, process, argument), None
            except BaseException as error:  # SystemExit of a job is the job's failure, not the worker's end
                result = None, error
            stopper.end()
        except Cancelled as error:  # it came when the handler had ended, and no second one comes
            stopper.end()
            result = result or (None, error)
        process.end()
        assert result is not None
        return result

    def _enter(self, queue: Queue[Any], handler: Callable[[Any], Any], process: JobProcess, argument: Any) -> Any:
        if queue.is_async:
            return self._call_async(handler, process, argument)
        return copy_context().run(entered, process, handler, argument)

    def _call_async(self, handler: Callable[[Any], Any], process: JobProcess, argument: Any) -> Any:
        loop = self._runner.get_loop()

        async def body() -> Any:
            task = asyncio.current_task()
            assert task is not None
            self._stopper.watch(loop, task)
            return await entered(process, handler, argument)

        return self._runner.run(body(), context=copy_context())
