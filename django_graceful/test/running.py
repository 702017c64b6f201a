"""Running one leased unit inside a test: in the caller's thread and database transaction, and written down as a worker
would: done, retrying, dead or cancelled.

Timeouts have no meaning here, nor has anything that needs a second process.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from typing import Any

from asgiref.sync import async_to_sync

from django_graceful.exceptions import Cancelled, CancelProcess, Discard, Retry
from django_graceful.items import Outcome, id_of
from django_graceful.processes import entered
from django_graceful.runner.batch import sort_batch
from django_graceful.runner.executing import Execution
from django_graceful.runner.wire import Unit
from django_graceful.spill.running import JobInMemory
from django_graceful.stores.base import Ending, StoreOwner
from django_graceful.test.committing import committed_at_the_end

#: What a worker takes for the end of a job. Anything else (Ctrl-C, ``pytest.fail``) is meant for the test.
_OF_THE_JOB = (Exception, Cancelled, asyncio.CancelledError, SystemExit)
#: How a handler says what is to become of its item.
_WORDS = (Retry, Discard, CancelProcess)


@dataclass(slots=True, frozen=True)
class Ran:
    """How one run of one item ended. ``delay`` is the seconds until its retry."""

    queue: str
    id: str
    #: None as well where it could not be decoded.
    payload: Any
    outcome: Outcome
    error: BaseException | None = None
    reason: str = ""
    delay: float = 0.0

    @property
    def failure(self) -> BaseException | None:
        """The error, unless the handler has said by it what is to happen and that was possible."""
        if isinstance(self.error, Retry) and self.outcome is Outcome.DEAD:
            return self.error
        said = isinstance(self.error, _WORDS) or self.outcome is Outcome.CANCELLED
        return None if said else self.error


def run_unit(engine: StoreOwner, unit: Unit) -> list[Ran]:
    """Run what was leased from ``engine``; how each of its items ended.

    What is meant for the test is raised, and the items are where they were.
    """
    execution = Execution(unit)
    began = time.monotonic_ns()
    problems: list[BaseException | None] = []
    try:
        if execution.jobs:
            execution.announce()
            problems = _call(execution)
            execution.conclude(problems, None, began)
    except BaseException:
        engine.release([lease.execution for lease in unit.leases])
        raise
    report = execution.report
    engine.finish(report.done, report.endings)
    errors = {job.execution: error for job, error in zip(execution.jobs, problems, strict=True)}
    payloads = {job.execution: job.payload for job in execution.jobs}
    endings = {ending.execution: ending for ending in report.endings}
    return [
        _ran(unit.queue, lease.record, payloads.get(at), errors.get(at), endings.get(at))
        for at, lease in ((lease.execution, lease) for lease in unit.leases)
    ]


def _ran(queue: str, record: bytes, payload: Any, error: BaseException | None, ending: Ending | None) -> Ran:
    name = id_of(record).hex()
    if ending is None:
        return Ran(queue, name, payload, Outcome.DONE)
    if error is not None:
        error.add_note(f"(item {name} of queue {queue!r}, outcome {ending.outcome})")
    return Ran(queue, name, payload, ending.outcome, error, ending.reason, ending.delay)


def _call(execution: Execution) -> list[BaseException | None]:
    """For each job the error it ends with; None is done."""
    jobs, unit, queue = execution.jobs, execution.unit, execution.queue
    handled: set[int] = set()
    process = JobInMemory(unit, jobs, handled)
    payloads = [job.payload for job in jobs]
    handler: Callable[[Any], Any] = async_to_sync(queue.handler) if queue.is_async else queue.handler
    try:
        with committed_at_the_end():
            returned = Context().run(entered, process, handler, list(payloads) if unit.batch else payloads[0])
    except _OF_THE_JOB as error:
        return [None if job.execution in handled else error for job in jobs]
    return sort_batch(payloads, returned) if unit.batch else [None]
