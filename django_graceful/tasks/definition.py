"""A task as this backend makes it: Django's, with the policy of a queue's item."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Literal

from django.utils import timezone
from django.utils.module_loading import import_string

from django_graceful.compat import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class GracefulTask(Task):  # type: ignore[type-arg]
    """What ``@task`` makes for this backend. ``None`` is: as the backend's ``OPTIONS`` say.

    ``max_attempts`` is how often it may fail before it is FAILED, ``timeout`` the longest that one run may take
    (seconds or a ``timedelta``). ``unique`` (True, ``"queued"`` or ``"finished"``): enqueueing it again with the same
    arguments adds nothing while one waits, or until one has finished. ``run_after`` may be a ``timedelta`` from now.
    """

    max_attempts: int | None = None
    timeout: float | timedelta | None = None
    unique: bool | Literal["queued", "finished"] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.run_after, timedelta):
            object.__setattr__(self, "run_after", timezone.now() + self.run_after)
        Task.__post_init__(self)


def restore(path: str, *, backend: str, queue_name: str, priority: int, run_after: datetime | None) -> Task[Any, Any]:
    """The task that was enqueued, for its result: as the code has it now, with the values that it was enqueued with.

    Nothing is validated, because what was valid then need not be now. Where there is no such task any more, its
    function is one that raises when it is called.
    """
    found = lookup(path)
    made: Task[Any, Any] = object.__new__(GracefulTask if found is None else type(found))
    for entry in fields(made):
        object.__setattr__(made, entry.name, None if found is None else getattr(found, entry.name))
    values = {"backend": backend, "queue_name": queue_name, "priority": priority, "run_after": run_after}
    if found is None:
        values |= {"func": _missing(path), "takes_context": False}
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made


def lookup(path: str) -> Task[Any, Any] | None:
    """The task at that dotted path; None when there is none."""
    try:
        found = import_string(path)
    except Exception:  # whatever the module raises, it is not there
        return None
    return found if isinstance(found, Task) else None


def _missing(path: str) -> Callable[..., Any]:
    def missing(*args: Any, **kwargs: Any) -> Any:
        raise ImportError(f"there is no task {path!r}")

    module, _, name = path.rpartition(".")
    missing.__module__, missing.__qualname__, missing.__name__ = module, name, name
    return missing
