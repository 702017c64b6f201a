"""A task on its way: what an item's payload holds of it. Pure but for the clock of :func:`due_at`'s caller.

The payload is JSON that any process can read, also one whose code has moved on: the dotted path of the function, never
the function.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from django.conf import settings

from django_graceful.compat import Task
from django_graceful.exceptions import PayloadTooLarge, TaskUnusable
from django_graceful.tasks.definition import lookup, restore


@dataclass(slots=True, frozen=True)
class Work:
    """One call of one task, as it was enqueued. ``run_after`` is epoch seconds."""

    task: str
    args: list[Any]
    kwargs: dict[str, Any]
    backend: str
    queue: str
    priority: int = 0
    run_after: float | None = None

    @classmethod
    def read(cls, payload: Any) -> Work:
        """The work in a payload. Raises :class:`~django_graceful.exceptions.TaskUnusable` for any other payload."""
        try:
            found = cls(**payload)
        except TypeError:
            raise TaskUnusable(f"this is no task: {payload!r:.200}; push to its queue with task.enqueue()") from None
        shapes = (found.task, str), (found.args, list), (found.kwargs, dict), (found.backend, str), (found.queue, str)
        if not all(isinstance(value, shape) for value, shape in shapes):
            raise TaskUnusable(f"this is no task: {payload!r:.200}; push to its queue with task.enqueue()")
        return found

    def encode(self, limit: int) -> bytes:
        """The payload. Raises :class:`~django_graceful.exceptions.PayloadTooLarge`."""
        data = json.dumps(asdict(self), separators=(",", ":")).encode()
        if len(data) > limit:
            raise PayloadTooLarge(
                f"the arguments of {self.task} make {len(data)} bytes of JSON, MAX_PAYLOAD allows {limit}:"
                " keep the data elsewhere and enqueue its key"
            )
        return data

    @property
    def key(self) -> str:
        """The same for the same call: its unique key."""
        text = json.dumps([self.task, self.args, self.kwargs], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def restored(self) -> Task[Any, Any]:
        """The task as it was enqueued, whatever the code of now says; see :func:`~.definition.restore`."""
        run_after = None if self.run_after is None else moment(self.run_after)
        return restore(
            self.task, backend=self.backend, queue_name=self.queue, priority=self.priority, run_after=run_after
        )

    def runnable(self) -> Task[Any, Any]:
        """The task, if the code of now can run this work.

        Raises :class:`~django_graceful.exceptions.TaskUnusable`, which says what has changed and what to do.
        """
        if lookup(self.task) is None:
            raise TaskUnusable(
                f"there is no task {self.task!r}{_import_error(self.task)}: was it moved, renamed, or is @task missing?"
                " Keep a task under the old name until its items are done, deploy that, and retry this one"
            )
        task = self.restored()
        context = (None,) if task.takes_context else ()
        try:
            inspect.signature(task.func).bind(*context, *self.args, **self.kwargs)
        except TypeError as error:
            raise TaskUnusable(
                f"{self.task} can not be called with what was enqueued ({error}): its signature has changed since."
                " Let it take the old arguments too, deploy that, and retry this one"
            ) from None
        return task


def _import_error(path: str) -> str:
    from django.utils.module_loading import import_string

    try:
        import_string(path)
    except Exception as error:
        return f" ({type(error).__name__}: {error})"
    return " (what is there is no task)"


def due_at(run_after: datetime | None, now: float) -> float:
    """When (epoch seconds) a task may run that was enqueued at ``now``; 0: at once."""
    due = 0.0 if run_after is None else run_after.timestamp()
    return due if due > now else 0.0


def moment(seconds: float) -> datetime:
    """Epoch seconds as Django has times: aware with ``USE_TZ``, else in local time."""
    return datetime.fromtimestamp(seconds, tz=UTC if settings.USE_TZ else None)


def number(value: Any) -> float | None:
    """A time that was kept as text or number; None when it is neither."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def texts(entries: Any) -> list[Mapping[str, Any]]:
    """The dicts of a list, whatever it is."""
    return [entry for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, list) else []
