"""Queues of the framework as queues of ours.

The queue ``mail`` of the backend ``default`` is our queue ``tasks:mail``; that of a backend ``other`` is
``tasks@other:mail``. Nobody declares them: a queue is made when it is asked for, by a push, a runner or a command, from
what ``TASKS`` says at that moment. So every process knows the same ones, also when ``QUEUES`` is empty and every name
goes. A name that ``TASKS`` does not allow (any more) is an unknown queue: its items are set aside until it is again.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from django_graceful import signals
from django_graceful.pushing import Plan
from django_graceful.queues import MAX_NAME, Queue, add_family, find_queue, forget_queues, get_queue
from django_graceful.tasks.settings import backends, entry_of, read

DEFAULT = "default"


class TaskQueue(Queue[Any]):
    """A queue whose items are tasks of the backend ``alias``."""

    def __init__(self, alias: str, name: str) -> None:
        entry = entry_of(alias) or {}
        self.conf, _ = read(alias, entry.get("OPTIONS", {}))
        super().__init__(name, _run, self.conf.queue, None)
        self.alias = alias

    @property
    def plan(self) -> Plan:
        """What code and settings say about pushes to it. Raises ``ImproperlyConfigured`` when it is immediate."""
        plan = self._plan()
        if plan.options.immediate:
            raise ImproperlyConfigured(
                f"the task queue {self.name!r} is immediate; for tests use Django's ImmediateBackend in TASKS"
            )
        return plan

    def put(self, record: bytes) -> str:
        """Push one record; the id of its item, or of the one that it was merged into. Errors as :meth:`Queue.push`."""
        return self._store([record], self.plan)[0].hex()


def name_of(alias: str, queue_name: str) -> str:
    """The name of our queue for a queue of that backend."""
    return f"tasks:{queue_name}" if alias == DEFAULT else f"tasks@{alias}:{queue_name}"


def parse(name: str) -> tuple[str, str] | None:
    """Alias and queue name of the framework from the name of our queue; None when it is no such name."""
    head, colon, queue_name = name.partition(":")
    if not colon or not queue_name:
        return None
    if head == "tasks":
        return DEFAULT, queue_name
    word, at, alias = head.partition("@")
    return (alias, queue_name) if word == "tasks" and at and alias else None


def find(name: str) -> Queue[Any] | None:
    """The queue of that name, if ``TASKS`` allows it."""
    known = parse(name)
    entry = entry_of(known[0]) if known is not None else None
    if known is None or entry is None or len(name) > MAX_NAME or not name.isprintable():
        return None
    allowed = entry.get("QUEUES", [DEFAULT])
    return TaskQueue(known[0], name) if not allowed or known[1] in allowed else None


def task_queue(alias: str, queue_name: str) -> TaskQueue:
    """The queue of a backend. Raises :class:`~django_graceful.exceptions.UnknownQueue` when ``TASKS`` has none such."""
    found = get_queue(name_of(alias, queue_name))
    if not isinstance(found, TaskQueue):
        raise ImproperlyConfigured(f"the queue {found.name!r} is declared by {found.handler!r}: tasks need that name")
    return found


def begin() -> None:
    """Called when Django is ready: the queues that ``TASKS`` lists exist, and are shown as served."""
    for alias, entry in backends().items():
        with suppress(TypeError):  # QUEUES is no list: Django says so
            for queue_name in entry.get("QUEUES", [DEFAULT]):
                find_queue(name_of(alias, str(queue_name)))


def _run(payload: Any) -> Any:
    from django_graceful.tasks.running import run

    return run(payload)


def _on_dead(**arguments: Any) -> None:
    from django_graceful.tasks.running import on_dead

    on_dead(**arguments)


def _on_setting_changed(*, setting: str, **kwargs: Any) -> None:
    if setting == "TASKS":
        forget_queues(lambda queue: isinstance(queue, TaskQueue))


add_family(find)
signals.dead.connect(_on_dead, dispatch_uid="django_graceful.tasks")
setting_changed.connect(_on_setting_changed)
