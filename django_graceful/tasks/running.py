"""Running one task in a worker: the handler of every task queue.

It sends the framework's signals, and decides itself how the run ends (:class:`.outcomes.Verdict`), because the end of a
task carries its result, or an error with the worker and the time. Whatever the task raises,
``SystemExit`` and ``KeyboardInterrupt`` included, is the task's failure; the worker lives. What stops it from outside
(a shutdown, a cancel) travels on to the runner, which knows what it means.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from dataclasses import replace
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.db import close_old_connections
from django.dispatch import Signal

from django_graceful.compat import (
    TaskContext,
    TaskResult,
    TaskResultStatus,
    normalize_json,
    task_finished,
    task_started,
)
from django_graceful.exceptions import Cancelled, ResultTooLarge, TaskUnusable
from django_graceful.items import Item, Outcome
from django_graceful.processes import Process, current_process
from django_graceful.queues import get_queue
from django_graceful.runner.outcomes import Verdict, describe, failed, own_options
from django_graceful.stores.base import Ending
from django_graceful.tasks import results
from django_graceful.tasks.naming import TaskQueue
from django_graceful.tasks.settings import TaskConf
from django_graceful.tasks.work import Work, moment

logger = logging.getLogger("django_graceful.tasks")

#: Of which items this process has told that they failed, until the runner's word of it comes.
told: set[str] = set()


def run(payload: Any) -> Any:
    """Run the task of this payload. Called by a worker; outside of one it is called plainly, without item and signals.

    Raises :class:`~django_graceful.runner.outcomes.Verdict` when it ended, and what a stop from outside raises.
    """
    process = current_process()
    item = getattr(process, "item", None)
    work = Work.read(payload)
    if process is None or not isinstance(item, Item):
        return _call(work, results.ready("", work, time.time()))
    attempt = Attempt(process, item, work, payload)
    try:
        value = attempt.call()
    except BaseException as error:
        attempt.fail(error)
        raise
    return attempt.succeed(value)


class Attempt:
    """One run of one task."""

    def __init__(self, process: Process, item: Item, work: Work, payload: Any) -> None:
        queue = get_queue(item.queue)
        self._process = process
        self._item = item
        self._work = work
        self._payload = payload
        self._conf = queue.conf if isinstance(queue, TaskQueue) else TaskConf()
        self._options = own_options(queue.options, item.meta)
        self._started = time.time()
        self._worker = str(getattr(process, "worker", results.UNKNOWN))
        self._result = results.begun(item, work)
        results.set_all(self._result, status=TaskResultStatus.RUNNING)
        results.attempted(self._result, self._worker, self._started)

    def call(self) -> Any:
        """Call the function; what it returned. Raises what it raises, and ``TaskUnusable``."""
        self._work.runnable()
        send(task_started, self._result)
        return _call(self._work, self._result)

    def succeed(self, value: Any) -> None:
        """It returned ``value``. Raises the verdict."""
        try:
            value = normalize_json(value)
            size = len(json.dumps(value).encode())
            if size > self._conf.max_result:
                raise ResultTooLarge(
                    f"{self._work.task} returned {size} bytes of JSON, MAX_RESULT allows {self._conf.max_result}:"
                    " keep the data elsewhere and return its key"
                )
        except Exception as error:  # it has no result that can be kept, and running it again would not change that
            detail = describe(error)
            reason = f"what {self._work.task} returned can not be kept: {detail['type']}: {detail['message']}"
            self._die(Ending(0, Outcome.DEAD, error=detail, reason=reason))
        results.set_all(
            self._result,
            status=TaskResultStatus.SUCCESSFUL,
            finished_at=moment(time.time()),
            _return_value=value,
        )
        send(task_finished, self._result)
        if self._conf.result_ttl:
            left = results.encode(self._result, self._payload, value)
            raise Verdict(Ending(0, Outcome.DONE, result=left, result_ttl=self._conf.result_ttl))

    def fail(self, error: BaseException) -> None:
        """It raised ``error``. Called where that is being handled. Raises the verdict, if it is ours to give."""
        stop = self._process.stop
        if stop is not None and stop.reason == "timeout":
            self._give(self._timed_out(error))
        if stop is not None or isinstance(error, Cancelled | asyncio.CancelledError):
            if stop is None or stop.reason == "cancel":
                by, note = (stop.by, stop.note) if stop is not None else ("the task", str(error))
                self._tell_failed(results.cancelled(by, note))
            return
        if isinstance(error, TaskUnusable):
            self._die(Ending(0, Outcome.DEAD, error=describe(error), reason=str(error)))
        self._give(failed(0, error, self._item.attempt, self._options, random.random()))  # noqa: S311

    def _timed_out(self, error: BaseException) -> Ending:
        limit = self._item.meta.get("timeout") or self._options.timeout or 0.0
        ending = failed(0, Cancelled("timeout"), self._item.attempt, self._options, random.random())  # noqa: S311
        detail = describe(error) | {"type": "timed out", "message": f"ran longer than {limit:g} s"}
        return replace(ending, error=detail, reason="timed out")

    def _give(self, ending: Ending) -> None:
        if ending.outcome is Outcome.DEAD:
            self._die(ending)
        if ending.outcome is Outcome.CANCELLED:
            self._tell_failed(results.cancelled(ending.by, ending.reason))
        raise Verdict(self._signed(ending))

    def _die(self, ending: Ending) -> None:
        signed = self._signed(ending)
        told.add(self._item.id)
        self._tell_failed(results.error_of(signed.error or {}))
        raise Verdict(signed)

    def _tell_failed(self, error: Any) -> None:
        self._result.errors.append(error)
        results.set_all(self._result, status=TaskResultStatus.FAILED, finished_at=moment(time.time()))
        send(task_finished, self._result)

    def _signed(self, ending: Ending) -> Ending:
        """With the worker and the time in its error."""
        if ending.error is None:
            return ending
        return replace(ending, error=ending.error | {"worker": self._worker, "started": repr(self._started)})


def _call(work: Work, result: TaskResult[Any, Any]) -> Any:
    task = work.runnable()
    args = [TaskContext(task_result=result), *result.args] if task.takes_context else result.args
    if iscoroutinefunction(task.func):
        return asyncio.run(_await(task.func, args, result.kwargs))
    return task.func(*args, **result.kwargs)


async def _await(function: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Its loop is in this thread, so a stop reaches it; its database calls are in the thread of ``sync_to_async``."""
    await sync_to_async(close_old_connections)()
    try:
        return await function(*args, **kwargs)
    finally:
        await sync_to_async(close_old_connections)()


def send(signal: Signal, result: TaskResult[Any, Any]) -> None:
    """Send one of the framework's signals. A receiver that raises is logged and changes nothing."""
    sender = type(result.task.get_backend())
    for receiver, answer in signal.send_robust(sender, task_result=result):
        if isinstance(answer, Exception):
            logger.error("receiver %r of task %s: %r", receiver, result.id, answer, exc_info=answer)


def on_dead(*, sender: Any, item: Item, reason: str, **kwargs: Any) -> None:
    """Receiver of ``signals.dead``: a task that died with its worker has failed, and somebody must say so."""
    if not isinstance(sender, TaskQueue):
        return
    if item.id in told:
        told.discard(item.id)
        return
    result = results.begun(item, Work.read(item.payload))
    result.errors.append(results.set_aside(reason))
    results.set_all(result, status=TaskResultStatus.FAILED, finished_at=moment(time.time()))
    send(task_finished, result)
