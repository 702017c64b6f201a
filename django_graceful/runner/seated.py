"""A unit that runs beside others in one worker: in a thread of its own, or as a task of the worker's event loop.

Each is told to stop alone (:meth:`Seated.stop`, in the main thread), and that never hits its neighbours or what has its
seat next: the exception is sent to the code of this run only, and what is still on its way at its end is taken back.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from asgiref.sync import sync_to_async

from django_graceful import signals
from django_graceful.conf import get_conf
from django_graceful.exceptions import Cancelled
from django_graceful.families import any_left, end_all
from django_graceful.interrupts import Region, cancelled_as
from django_graceful.processes import entered
from django_graceful.runner.executing import Execution
from django_graceful.runner.jobs import JobProcess
from django_graceful.runner.slate import Slate, Why
from django_graceful.runner.stopping import REASONS
from django_graceful.runner.tidying import Tidier
from django_graceful.runner.wire import Report, Unit


class Seated(ABC):
    """One unit in its seat. ``leave`` is called at its end, in the thread that ran it."""

    def __init__(self, unit: Unit, seat: int, slate: Slate, leave: Callable[[Seated], None]) -> None:
        self.unit = unit
        self.seat = seat
        self.began = slate.sit(seat, unit.last)
        #: Nanoseconds that it took, what is to be reported (None: plain success), and what the runner itself did wrong.
        self.busy = 0
        self.report: Report | None = None
        self.failure: BaseException | None = None
        #: Why it was told to stop; None while nobody told it.
        self.asked: Why | None = None
        self._slate = slate
        self._leave = leave
        self._process: JobProcess | None = None

    def stop(self, why: Why) -> None:
        """Tell it to stop, unless it was told before."""
        if self.asked is None:
            self.asked = why  # before the rest: who is about to begin looks here
            self._interrupt(why)

    @abstractmethod
    def _interrupt(self, why: Why) -> None:
        """Raise it in the handler, if that runs."""

    def _end(self) -> None:
        self.busy = time.monotonic_ns() - self.began
        if self._process is not None:
            self._process.end()
        if self.report is None and self.failure is None:
            self._slate.rise(self.seat)  # done, and so for good: before anybody is told
        self._leave(self)

    def _open(self, execution: Execution) -> JobProcess:
        self._process = JobProcess(execution.jobs, self, self._slate)
        return self._process


class InThread(Seated):
    """Runs in the thread that calls :meth:`run`."""

    def __init__(self, unit: Unit, seat: int, slate: Slate, leave: Callable[[Seated], None]) -> None:
        super().__init__(unit, seat, slate, leave)
        self._region = Region()

    def run(self, tidier: Tidier) -> None:
        """Run the unit. ``tidier`` is this thread's. Raises nothing."""
        try:
            self.report = self._run(tidier)
        except BaseException as error:
            self.failure = error
        self._end()

    def _run(self, tidier: Tidier) -> Report | None:
        execution = Execution(self.unit)
        if not execution.jobs:
            return execution.said(None)
        tidier.before()
        try:
            execution.announce()
            problem = self._call(execution)
            execution.conclude([problem], self.asked, self.began)
        finally:
            if any_left():  # of threads that the job did not wait for
                end_all(get_conf().cancel_grace / 2, self._process)
            tidier.after()
        return execution.said(self.asked)

    def _call(self, execution: Execution) -> BaseException | None:
        process, handler = self._open(execution), execution.handler()
        try:
            self._region.run(copy_context().run, entered, process, self._begin, handler, execution.jobs[0].payload)
        except BaseException as error:  # SystemExit of a job is the job's failure
            return error
        return None

    def _begin(self, handler: Callable[[Any], Any], payload: Any) -> None:
        if self.asked is not None:  # it came before the region could be interrupted
            raise Cancelled(REASONS[self.asked])
        handler(payload)

    def _interrupt(self, why: Why) -> None:
        self._region.interrupt(cancelled_as(REASONS[why], self._seen))

    def _seen(self) -> None:
        stop = None if self._process is None else self._process.stop
        if stop is not None:
            stop.begin()


class InTask(Seated):
    """Runs as tasks of the running loop: one for the handler, which may be cancelled, around it one that may not.

    Receivers of signals, and database connections, are looked after in the thread of ``sync_to_async``, where the
    handler's own calls of Django's ORM are.
    """

    _handler: asyncio.Task[BaseException | None] | None = None

    def start(self, tidier: Tidier) -> None:
        """Let it run. ``tidier`` is the one of that thread."""
        self._task = asyncio.get_running_loop().create_task(self._run(tidier))

    async def _run(self, tidier: Tidier) -> None:
        try:
            self.report = await self._execute(tidier)
        except BaseException as error:
            self.failure = error
        self._end()

    async def _execute(self, tidier: Tidier) -> Report | None:
        execution = Execution(self.unit)
        if not execution.jobs:
            return execution.said(None)
        if tidier.due:
            await sync_to_async(tidier.after)()
        if signals.started.receivers:
            await sync_to_async(execution.announce)()
        problem = await self._call(execution)
        if signals.finished.receivers or signals.dead.receivers:
            await sync_to_async(execution.conclude)([problem], self.asked, self.began)
        else:
            execution.conclude([problem], self.asked, self.began)
        if any_left():
            await asyncio.to_thread(end_all, get_conf().cancel_grace / 2, self._process)
        return execution.said(self.asked)

    async def _call(self, execution: Execution) -> BaseException | None:
        process, handler, payload = self._open(execution), execution.handler(), execution.jobs[0].payload

        async def body() -> BaseException | None:
            try:
                await entered(process, handler, payload)
            except BaseException as error:  # SystemExit would end the loop, and is the job's failure
                return error
            return None

        if self.asked is not None:
            return Cancelled(REASONS[self.asked])
        self._handler = asyncio.get_running_loop().create_task(body())
        await asyncio.wait({self._handler})
        return asyncio.CancelledError() if self._handler.cancelled() else self._handler.result()

    def _interrupt(self, why: Why) -> None:
        if self._handler is not None:
            self._handler.cancel()
