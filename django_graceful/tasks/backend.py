"""The backend class that ``TASKS`` names. One instance for each thread, made when a module with tasks is imported: so
making one reads, opens and starts nothing. Everything that costs anything is the process's store, opened by the first
push or question.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from asgiref.sync import sync_to_async
from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction

from django_graceful.compat import BaseTaskBackend, InvalidTask, Task, TaskResult, TaskResultDoesNotExist, task_enqueued
from django_graceful.conf import Fault, StoreConf, get_conf
from django_graceful.exceptions import TaskUnusable
from django_graceful.options import is_whole
from django_graceful.queues import MAX_NAME, all_queues
from django_graceful.stores import get_store
from django_graceful.stores.base import CancelReply
from django_graceful.tasks import results
from django_graceful.tasks.definition import GracefulTask
from django_graceful.tasks.naming import TaskQueue, name_of, parse, task_queue
from django_graceful.tasks.pushing import Draft, draft
from django_graceful.tasks.running import send
from django_graceful.tasks.settings import TASK_KEYS, TaskConf, read, task_option

_USE_DJANGOS = "For tests use Django's ImmediateBackend in TASKS."


class GracefulBackend(BaseTaskBackend):
    """Django's Tasks on our queues: everything that the framework's contract allows.

    ``enqueue`` returns when the task survives the death of every process; it needs no runner. Its errors are those of
    :meth:`Queue.push <django_graceful.queues.Queue.push>`, and the framework's ``InvalidTask``.
    """

    task_class = GracefulTask
    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    @cached_property
    def conf(self) -> TaskConf:
        """``OPTIONS``, checked. Raises ``ImproperlyConfigured`` that names every fault."""
        conf, faults = self._read()
        if faults:
            raise ImproperlyConfigured("; ".join(f"{fault.where} {fault.what}" for fault in faults))
        return conf

    def validate_task(self, task: Task[Any, Any]) -> None:
        """Raises ``InvalidTask`` for what the framework refuses, and for a wrong policy or a queue name too long."""
        if not is_whole(task.priority) and not isinstance(task.priority, float):
            raise InvalidTask(f"priority must be a whole number between -100 and 100, not {task.priority!r}.")
        if task.run_after is not None and not isinstance(task.run_after, datetime):
            raise InvalidTask(f"run_after must be an aware datetime or a timedelta, not {task.run_after!r}.")
        super().validate_task(task)
        name = name_of(self.alias, task.queue_name)
        if len(name) > MAX_NAME or not name.isprintable() or not task.queue_name:
            raise InvalidTask(
                f"Queue {task.queue_name!r} makes {name!r}: 1 to {MAX_NAME} printable characters, please."
            )
        for option in TASK_KEYS.values():
            value = getattr(task, option, None)
            try:
                _ = value is None or task_option(option, value)
            except ValueError as error:
                raise InvalidTask(f"{option} {error}.") from None

    def enqueue(self, task: Task[Any, Any], args: Any, kwargs: Any) -> TaskResult[Any, Any]:
        """Queue one call of ``task``; its result, READY. With ``ENQUEUE_ON_COMMIT`` it is queued, and the signal sent,
        when the transaction commits, and not at all when that is rolled back.

        Of a unique task that waits already it is the result of that one.
        """
        made = self._enqueue(task, args, kwargs)
        if made.pushed:
            send(task_enqueued, made.result)
        return made.result

    async def aenqueue(self, task: Task[Any, Any], args: Any, kwargs: Any) -> TaskResult[Any, Any]:
        """:meth:`enqueue` for async code."""
        made = await sync_to_async(self._enqueue, thread_sensitive=True)(task, args, kwargs)
        if made.pushed:
            await task_enqueued.asend_robust(type(self), task_result=made.result)
        return made.result

    def get_result(self, result_id: str) -> TaskResult[Any, Any]:
        """Where the task of that id stands, from any process. Raises ``TaskResultDoesNotExist`` for an id that is not
        known (any more), or no id at all, and :class:`~django_graceful.exceptions.StoreUnavailable`.

        Where no runner runs, a LevelDB store is opened for that moment.
        """
        found = self._look(result_id) if isinstance(result_id, str) else None
        if found is None:
            raise TaskResultDoesNotExist(result_id)
        return found

    async def aget_result(self, result_id: str) -> TaskResult[Any, Any]:
        """:meth:`get_result` for async code; it does not block the loop."""
        return await sync_to_async(self.get_result, thread_sensitive=False)(result_id)

    def cancel(self, result_id: str, *, by: str = "", reason: str = "") -> CancelReply:
        """Cancel a task: ``cancelled`` when it did not run, ``asked`` when its run has been told to stop, ``unknown``
        when no task of this backend that waits or runs has the id. It is FAILED then, its last error ``TaskCancelled``.

        Raises :class:`~django_graceful.exceptions.StoreUnavailable` when the store can not be asked.
        """
        for alias in self._stores():
            with get_store(alias).admin(alone=True) as admin:
                found = admin.get(result_id)
                if found is not None and self._is_mine(found.item.queue):
                    return admin.request_cancel(result_id, by, reason)
        return CancelReply.UNKNOWN

    async def acancel(self, result_id: str, *, by: str = "", reason: str = "") -> CancelReply:
        """:meth:`cancel` for async code."""
        return await sync_to_async(self.cancel, thread_sensitive=False)(result_id, by=by, reason=reason)

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        """E030: a wrong option; E031: its store is not there; E032: a queue is immediate; W030: only one process sees
        its results.
        """
        conf, faults = self._read()
        found: list[CheckMessage] = [
            Error(f"{fault.where} {fault.what}.", hint=fault.hint, id="django_graceful.E030") for fault in faults
        ]
        with suppress(ImproperlyConfigured):  # E001 says so
            stores = get_conf().stores
            found += check_store(f"TASKS[{self.alias!r}]", conf.queue.store, stores)
            found += [
                Error(f"The task queue {queue.name!r} is immediate.", hint=_USE_DJANGOS, id="django_graceful.E032")
                for queue in self._queues()
                if queue.options.immediate
            ]
        return found

    def _read(self) -> tuple[TaskConf, list[Fault]]:
        return read(self.alias, self.options)

    def _enqueue(self, task: Task[Any, Any], args: Any, kwargs: Any) -> Made:
        self.validate_task(task)
        conf = self.conf
        queue = task_queue(self.alias, task.queue_name)
        drawn = draft(task, args, kwargs, conf, queue)
        made = Made(drawn.result)
        if conf.on_commit:
            using = None if conf.on_commit is True else conf.on_commit
            if transaction.get_connection(using).in_atomic_block:
                transaction.on_commit(lambda: self._push_later(made, drawn, queue), using=using)
                return made
        self._push(made, drawn, queue)
        return made

    def _push(self, made: Made, drawn: Draft, queue: TaskQueue) -> None:
        item_id = queue.put(drawn.record)
        made.pushed = True
        if item_id != drawn.result.id:  # a unique task that is there already
            results.set_all(drawn.result, id=item_id)

    def _push_later(self, made: Made, drawn: Draft, queue: TaskQueue) -> None:
        self._push(made, drawn, queue)
        send(task_enqueued, made.result)

    def _look(self, result_id: str, follow: bool = True) -> TaskResult[Any, Any] | None:
        for alias in self._stores():
            with get_store(alias).admin(alone=True) as admin:
                item = admin.get(result_id)
                if item is not None:
                    try:
                        return results.from_item(item) if self._is_mine(item.item.queue) else None
                    except (TaskUnusable, ValueError):
                        return None
                left = admin.result(result_id)
            if left is not None:
                found = results.decode(result_id, str(left["result"]), float(left["finished_at"]))
                if isinstance(found, str):
                    return self._look(found, follow=False) if follow else None
                return found if found is not None and found.backend == self.alias else None
        return None

    def _is_mine(self, queue: str) -> bool:
        known = parse(queue)
        return known is not None and known[0] == self.alias

    def _queues(self) -> list[TaskQueue]:
        return [q for q in all_queues().values() if isinstance(q, TaskQueue) and q.alias == self.alias]

    def _stores(self) -> list[str]:
        """The stores in which a task of this backend may be."""
        named = [self.conf.queue.store, *(queue.options.store for queue in self._queues())]
        homes = [get_conf().store(alias).home for alias in named]
        return list(dict.fromkeys([*named, *homes]))


@dataclass(slots=True)
class Made:
    """What became of an enqueue so far."""

    result: TaskResult[Any, Any]
    pushed: bool = False


def check_store(where: str, alias: str, stores: Mapping[str, StoreConf]) -> Iterator[CheckMessage]:
    """E031 and W030 of one backend."""
    store = stores.get(alias)
    if store is None:
        text = f"{where} is in store {alias!r}, which GRACEFUL['STORES'] does not have."
        yield Error(text, hint=f"It has: {', '.join(stores) or 'none'}.", id="django_graceful.E031")
    elif store.backend == "memory":
        text = f"{where} is in the memory store {alias!r}: only the process that enqueued a task sees its result."
        yield Warning(text, hint="Use a leveldb or redis store.", id="django_graceful.W030")
