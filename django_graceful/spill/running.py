"""One unit in one of our threads: decode, call the handler, and say how each of its items ended.

What happens to an item is decided as in a runner's worker (:class:`~django_graceful.runner.executing.Execution`):
retries, dead letters, batches, ``Discard``. The differences: its process is listed by this node, under an id of this
node, and a run that does not heed its cancel can not be killed; its thread is lost until it ends.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextvars import Context
from dataclasses import replace
from typing import Any

from asgiref.sync import async_to_sync

from django_graceful.conf import get_conf
from django_graceful.exceptions import Cancelled
from django_graceful.families import any_left, end_all
from django_graceful.interrupts import Region, cancelled_as
from django_graceful.items import Item, Outcome, limit_of
from django_graceful.processes import Process, add_root, entered, remove_root
from django_graceful.runner.batch import sort_batch
from django_graceful.runner.executing import Execution
from django_graceful.runner.jobs import Job
from django_graceful.runner.slate import Why
from django_graceful.runner.tidying import Tidier
from django_graceful.runner.wire import Report, Unit
from django_graceful.stores.base import Ending, Wish


class JobInMemory(Process):
    """The process of one unit."""

    def __init__(self, unit: Unit, jobs: list[Job], handled: set[int]) -> None:
        first = jobs[0]
        item_id = first.header.id.hex()
        super().__init__(f"{unit.queue}: {item_id if len(jobs) == 1 else f'{len(jobs)} items'}", kind="job")
        self._handled = handled
        self._first = first
        self._details = {
            "queue": unit.queue,
            "item": item_id,
            "items": len(jobs),
            "execution": first.execution,
            "attempt": first.header.attempt,
        }
        self._executions: dict[int, list[int]] = {}
        for job in jobs if unit.batch else ():
            self._executions.setdefault(id(job.payload), []).append(job.execution)

    @property
    def details(self) -> dict[str, Any]:
        """Its queue and item; the numbers are those of the first item of a batch."""
        return self._details

    @property
    def item(self) -> Item:
        """The item that runs; the first of a batch."""
        return self._first.item

    @property
    def worker(self) -> str:
        """As a lease has it."""
        return "a thread"

    def handled(self, payload: Any) -> None:
        """As in :class:`~django_graceful.processes.Process`. Raises ``ValueError`` for what is not in the batch."""
        if not self._executions:
            return
        executions = self._executions.get(id(payload))
        if not executions:
            raise ValueError("handled() takes a payload that the batch handler was given: that object, once")
        self._handled.add(executions.pop(0))


class Run:
    """One unit that runs. ``handled`` is where a batch notes what it is done with."""

    def __init__(self, unit: Unit, handled: set[int]) -> None:
        self.unit = unit
        self._execution = Execution(unit)
        self._handled = handled
        self._region = Region()
        self._wished = self._too_long = False
        self._task: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]] | None = None
        self.process: JobInMemory | None = None
        if self._execution.jobs:
            self.process = JobInMemory(unit, self._execution.jobs, handled)
            self.process.on_cancel = self._interrupt

    def heed(self, wish: Wish) -> None:
        """One of its items is to be cancelled; the store knows which."""
        if self.process is not None and self.unit.has(wish.execution):
            self._wished = True
            self.process.cancel(by=wish.by, note=wish.reason)

    def perform(self, tidier: Tidier) -> Report:
        """Run it in this thread, whose ``tidier`` it is; how it ended. Listed from now until :meth:`leave`."""
        process, execution = self.process, self._execution
        if process is None:
            return execution.report
        add_root(process)
        process.show()
        tidier.before()
        try:
            execution.announce()
            began = time.monotonic_ns()
            problems = self._call_within_limit(process)
            execution.conclude(problems, self._why(process), began)
        finally:
            if any_left():
                end_all(get_conf().cancel_grace / 2, process)
            tidier.after()
        execution.report.endings = [self._told(ending, process) for ending in execution.report.endings]
        return execution.report

    def leave(self) -> None:
        """How it ended is written down: not listed any more."""
        if self.process is not None:
            remove_root(self.process)

    def _call_within_limit(self, process: JobInMemory) -> list[BaseException | None]:
        limit = limit_of((lease.record for lease in self.unit.leases), self._execution.queue.options.timeout)
        if limit is None:
            return self._call(process)
        timer = threading.Timer(limit, self._time_out, (process,))
        timer.daemon = True
        timer.start()
        try:
            return self._call(process)
        finally:
            timer.cancel()

    def _time_out(self, process: JobInMemory) -> None:
        self._too_long = process.stop is None
        process.cancel("timeout")

    def _why(self, process: JobInMemory) -> Why | None:
        """Why it was told to stop. A timeout of the whole web worker is none of the job's: a shutdown."""
        if process.stop is None:
            return None
        if process.stop.reason == "cancel":
            return Why.CANCEL
        return Why.TIMEOUT if self._too_long else Why.SHUTDOWN

    def _call(self, process: JobInMemory) -> list[BaseException | None]:
        jobs, batch = self._execution.jobs, self.unit.batch
        payloads = [job.payload for job in jobs]
        handler = self._execution.handler()
        if self._execution.queue.is_async:
            handler = async_to_sync(self._attended(handler))
        argument = list(payloads) if batch else payloads[0]
        try:
            returned = self._region.run(Context().run, entered, process, self._begin, handler, argument)
        except BaseException as error:  # SystemExit of a job is the job's failure
            return [None if job.execution in self._handled else error for job in jobs]
        return sort_batch(payloads, returned) if batch else [None]

    def _begin(self, handler: Callable[[Any], Any], argument: Any) -> Any:
        assert self.process is not None
        stop = self.process.stop
        if stop is not None:  # it came before the region could be interrupted
            raise Cancelled(stop.reason, stop.by, stop.note)
        return handler(argument)

    def _attended(self, handler: Callable[[Any], Any]) -> Callable[[Any], Any]:
        async def attended(argument: Any) -> Any:
            task = asyncio.current_task()
            assert task is not None
            assert self.process is not None
            self._task = asyncio.get_running_loop(), task
            if self.process.stop is not None:
                raise Cancelled(self.process.stop.reason)
            try:
                return await handler(argument)
            finally:
                self._task = None

        return attended

    def _interrupt(self, process: Process) -> None:
        stop, task = process.stop, self._task
        if stop is None:
            return
        if task is not None:
            stop.begin()
            task[0].call_soon_threadsafe(task[1].cancel)
        else:
            self._region.interrupt(cancelled_as(stop.reason, stop.begin))

    def _told(self, ending: Ending, process: JobInMemory) -> Ending:
        """With who asked for it. A batch that was cancelled as a whole is, else the store says which item was meant."""
        stop = process.stop
        if stop is None or stop.reason != "cancel" or self._wished:
            return ending
        if ending.outcome in (Outcome.CANCELLED, Outcome.INTERRUPTED):
            return replace(ending, outcome=Outcome.CANCELLED, by=stop.by, reason=stop.note)
        return ending
