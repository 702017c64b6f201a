"""Running one unit: decode, call the handler, and say how each of its items ended.

:class:`Execution` is what all ways of running have in common. :class:`Executor` runs them in the worker's main thread,
one after the other; :mod:`.seating` several at once.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from sys import modules
from typing import Any

from django.dispatch import Signal

from django_graceful import signals, tracing
from django_graceful.conf import get_conf
from django_graceful.exceptions import Cancelled, Discard, RecordError, UnknownQueue
from django_graceful.families import any_left, end_all
from django_graceful.items import Outcome, decode_item, decode_meta, limit_of
from django_graceful.queues import Queue, get_queue
from django_graceful.runner.batch import sort_batch
from django_graceful.runner.calling import Caller
from django_graceful.runner.jobs import BatchProcess, Job, JobProcess
from django_graceful.runner.outcomes import Verdict, failed, own_options, stopped
from django_graceful.runner.slate import Slate, Why, Word
from django_graceful.runner.stopping import Stopper
from django_graceful.runner.tidying import Tidier, tidy_thread
from django_graceful.runner.wire import News, Report, Unit
from django_graceful.stores.base import Ending, Lease

logger = logging.getLogger("django_graceful.worker")


class Execution:
    """One unit that runs: its items decoded, and then how each of them ended. Used in the thread that runs it."""

    __slots__ = ("jobs", "queue", "report", "unit")

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        #: Of the items that can not run at all, from the beginning.
        self.report = Report()
        self.jobs: list[Job] = []
        try:
            self.queue: Queue[Any] = get_queue(unit.queue)
        except UnknownQueue as error:
            self._refuse(unit.leases, error)
            return
        for lease in unit.leases:
            try:
                self.jobs.append(Job(unit.queue, lease))
            except RecordError as error:
                self._refuse([lease], error)

    def _refuse(self, leases: list[Lease], error: Exception) -> None:
        self.report.endings += [Ending(lease.execution, Outcome.DEAD, reason=str(error)) for lease in leases]

    def handler(self) -> Callable[[Any], Any]:
        """The queue's handler, to be called once; within the span of this run, where the site traces."""
        queue = self.queue
        handler: Callable[[Any], Any] = queue.handler
        if tracing.API not in modules or (tracer := tracing.tracer()) is None:
            return handler
        from django_graceful.tracing.runs import traced

        headers = [job.header for job in self.jobs]
        return traced(tracer, queue.name, handler, headers, is_async=queue.is_async, batch=self.unit.batch)

    def announce(self) -> None:
        """Tell the receivers of ``signals.started``."""
        if signals.started.receivers:
            for job in self.jobs:
                _announce(signals.started, self.queue, item=job.item)

    def conclude(self, problems: list[BaseException | None], why: Why | None, began: int) -> None:
        """The handler has ended, for each job with that problem; ``why`` it was told to stop; tell the receivers.

        ``began`` is in monotonic nanoseconds.
        """
        report = self.report
        for job, problem in zip(self.jobs, problems, strict=True):
            if problem is None:
                report.done.append(job.execution)
                if signals.finished.receivers:
                    self._announce_end(job, began, Outcome.DONE)
            else:
                ending = self._ending(job, problem, why)
                report.endings.append(ending)
                self._announce_end(job, began, ending.outcome, ending.reason)

    def said(self, why: Why | None) -> Report | None:
        """What is to be reported; None: plain success of everything in it. Whoever was told to stop retires."""
        self.report.retiring = why is not None
        return self.report if self.report.endings or self.report.retiring else None

    def _ending(self, job: Job, error: BaseException, why: Why | None) -> Ending:
        if isinstance(error, Verdict):
            return replace(error.ending, execution=job.execution)
        unit, failures = self.unit, job.header.attempt
        options = own_options(self.queue.options, decode_meta(job.header.meta))
        spread = random.random()  # noqa: S311
        if why is not None and not isinstance(error, Discard):
            limit = limit_of((lease.record for lease in unit.leases), options.timeout)
            return stopped(job.execution, why, failures, options, spread=spread, batch=unit.batch, limit=limit)
        if isinstance(error, Cancelled | asyncio.CancelledError):
            by, note = (error.by, error.note) if isinstance(error, Cancelled) else ("", "")
            return Ending(job.execution, Outcome.CANCELLED, by=by or "the handler", reason=note or str(error))
        return failed(job.execution, error, failures, options, spread)

    def _announce_end(self, job: Job, began: int, outcome: Outcome, reason: str = "") -> None:
        try:
            item = job.item
        except RecordError:  # its meta is damaged: the store says so
            return
        seconds = (time.monotonic_ns() - began) / 1e9
        _announce(signals.finished, self.queue, item=item, outcome=outcome, seconds=seconds)
        if outcome is Outcome.DEAD:
            _announce(signals.dead, self.queue, item=item, reason=reason)


class Executor:
    """Runs units in the worker's main thread, one after the other."""

    def __init__(self, stopper: Stopper, slate: Slate, runner: asyncio.Runner) -> None:
        self._stopper = stopper
        self._slate = slate
        self._caller = Caller(stopper, runner)
        self._runner = runner
        self._tidier, self._thread_tidier = Tidier(), Tidier()

    def run(self, unit: Unit) -> Report | None:
        """Run the unit; None is plain success of everything in it."""
        execution = Execution(unit)
        if not execution.jobs:
            return execution.said(None)
        in_loop = execution.queue.is_async
        self._tidier.before()
        if in_loop and self._thread_tidier.due:
            self._runner.run(tidy_thread(self._thread_tidier))
        try:
            execution.announce()
            problems = self._call_batch(execution) if unit.batch else [self._call(execution)]
            execution.conclude(problems, self._stopper.why, self._slate.words[Word.SINCE])
        finally:
            if any_left():  # of threads that the job did not wait for
                end_all(get_conf().cancel_grace / 2)
            self._tidier.after()
            if in_loop and self._stopper.why is None:  # else it ends now, and that thread may never
                self._runner.run(tidy_thread(self._thread_tidier))
        return execution.said(self._stopper.why)

    def _call(self, execution: Execution) -> BaseException | None:
        process = JobProcess(execution.jobs, self._stopper, self._slate)
        return self._caller.call(execution, process, execution.jobs[0].payload)[1]

    def _call_batch(self, execution: Execution) -> list[BaseException | None]:
        """For each job the error it ends with; None is done."""
        unit, jobs = execution.unit, execution.jobs
        payloads = [job.payload for job in jobs]
        self._slate.open_batch(unit.leases[0].execution, len(unit.leases))
        process = BatchProcess(jobs, self._stopper, self._slate)
        returned, raised = self._caller.call(execution, process, list(payloads))
        if raised is None:
            return sort_batch(payloads, returned)
        handled = self._slate.handled()
        return [None if job.execution in handled else raised for job in jobs]


def tell(news: News) -> None:
    """Send ``signals.dead`` for an item that the runner has set aside."""
    with suppress(UnknownQueue, RecordError):
        item = decode_item(news.queue, news.record)
        _announce(signals.dead, get_queue(news.queue), item=item, reason=news.reason)


def _announce(signal: Signal, queue: Queue[Any], **arguments: Any) -> None:
    for receiver, answer in signal.send_robust(sender=queue, **arguments):
        if isinstance(answer, Exception):
            logger.error("receiver %r of queue %s: %r", receiver, queue.name, answer, exc_info=answer)
