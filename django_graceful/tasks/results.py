"""Where a task stands, as Django's ``TaskResult``: from its item, or from what it left when it was done.

===========================================  =========================================================
item                                         status
===========================================  =========================================================
waiting, scheduled, retrying                 READY (with the errors of earlier attempts)
running                                      RUNNING
dead                                         FAILED, until a person retries or discards the item
cancelled                                    FAILED, the last error being ``TaskCancelled``; for a week
gone, and it left a result                   SUCCESSFUL, for ``RESULT_TTL`` seconds
===========================================  =========================================================

Times of an attempt stand in the item's errors, because a run that did not fail leaves nothing but its result. What is
not known of a worker that died is said as ``"unknown"``. Pure.
"""

from __future__ import annotations

import builtins
import json
from collections.abc import Mapping
from typing import Any, Final

from django_graceful import exceptions
from django_graceful.compat import TaskError, TaskResult, TaskResultStatus
from django_graceful.items import Item, State
from django_graceful.runner.handing import NO_HANDLER
from django_graceful.stores.values import Found
from django_graceful.tasks.work import Work, moment, number, texts

UNKNOWN: Final = "unknown"
#: Seconds for which the id of a task that was merged into another one leads there, when results are not kept.
FOLLOWED: Final = 86_400.0
_STATUS: Final = {
    State.WAITING: TaskResultStatus.READY,
    State.SCHEDULED: TaskResultStatus.READY,
    State.RETRYING: TaskResultStatus.READY,
    State.RUNNING: TaskResultStatus.RUNNING,
    State.DEAD: TaskResultStatus.FAILED,
    State.CANCELLED: TaskResultStatus.FAILED,
}
_ENDED_AT: Final = {State.DEAD: "died_at", State.CANCELLED: "cancelled_at"}
#: How the store words the end of an item that has no second run (``RERUN``).
_TWICE: Final = "must not run twice"
#: Errors that the runner words itself.
_CLASSES: Final = {"timed out": exceptions.TaskTimedOut, "worker died": exceptions.TaskInterrupted}


def from_item(found: Found) -> TaskResult[Any, Any]:
    """Where the task of this item stands.

    Raises :class:`~django_graceful.exceptions.TaskUnusable` when the item is no task, and ``RecordError`` when it can
    not be read.
    """
    item, detail = found.item, found.detail
    result = begun(item, Work.read(item.payload))
    set_all(result, status=_STATUS[found.state])
    if found.state is State.RUNNING:
        attempted(result, str(detail.get("owner", UNKNOWN)), number(detail.get("since")))
    if found.state in _ENDED_AT:
        at = number(detail.get(_ENDED_AT[found.state]))
        set_all(result, finished_at=None if at is None else moment(at))
        result.errors.extend(_ending(found))
    return result


def begun(item: Item, work: Work) -> TaskResult[Any, Any]:
    """The result of a task that waits, with what its earlier attempts left."""
    result = ready(item.id, work, item.pushed_at)
    entries = texts(item.errors)
    result.errors.extend(error_of(entry) for entry in entries)
    unknown = max(0, item.attempt + item.crashes - len(entries))
    result.worker_ids.extend([UNKNOWN] * unknown + [str(entry.get("worker") or UNKNOWN) for entry in entries])
    times = [at for entry in entries if (at := number(entry.get("started"))) is not None]
    if times:
        set_all(result, started_at=moment(times[0]), last_attempted_at=moment(times[-1]))
    return result


def ready(item_id: str, work: Work, enqueued: float) -> TaskResult[Any, Any]:
    """The result of a task that was just enqueued."""
    return TaskResult(
        task=work.restored(),
        id=item_id,
        status=TaskResultStatus.READY,
        enqueued_at=moment(enqueued),
        started_at=None,
        finished_at=None,
        last_attempted_at=None,
        args=work.args,
        kwargs=work.kwargs,
        backend=work.backend,
        errors=[],
        worker_ids=[],
    )


def attempted(result: TaskResult[Any, Any], worker: str, at: float | None) -> None:
    """This worker has begun with it, at ``at`` (epoch seconds)."""
    result.worker_ids.append(worker)
    if at is not None:
        time = moment(at)
        set_all(result, started_at=result.started_at or time, last_attempted_at=time)


def set_all(result: TaskResult[Any, Any], **values: Any) -> None:
    """Set these fields; the class is frozen for everybody else."""
    for name, value in values.items():
        object.__setattr__(result, name, value)


def error_of(entry: Mapping[str, Any]) -> TaskError:
    """One error of an item as the framework has it."""
    name = str(entry.get("type", ""))
    if name in _CLASSES:
        path = class_path(_CLASSES[name])
    elif "." not in name:
        path = f"builtins.{name}" if hasattr(builtins, name) else class_path(exceptions.TaskError)
    else:
        path = name
    return TaskError(exception_class_path=path, traceback=str(entry.get("traceback") or entry.get("message", "")))


def class_path(kind: type[BaseException]) -> str:
    """The dotted path of an exception class."""
    return f"{kind.__module__}.{kind.__qualname__}"


def cancelled(by: str, reason: str) -> TaskError:
    """The error of a task that was cancelled."""
    text = " ".join(filter(None, ("cancelled", by and f"by {by}"))) + (f": {reason}" if reason else "")
    return TaskError(exception_class_path=class_path(exceptions.TaskCancelled), traceback=text)


def set_aside(reason: str) -> TaskError:
    """The error of a task that was set aside without one of its own."""
    kind: type[exceptions.TaskError] = exceptions.TaskUnusable
    if _TWICE in reason or "worker" in reason:
        kind = exceptions.TaskInterrupted
    elif reason == "timed out":
        kind = exceptions.TaskTimedOut
    return TaskError(exception_class_path=class_path(kind), traceback=reason)


def _ending(found: Found) -> list[TaskError]:
    """What the end of an item adds to its errors."""
    by, reason = str(found.detail.get("by", "")), str(found.detail.get("reason", ""))
    if found.state is State.CANCELLED:
        return [cancelled(by, reason)]
    # Else its last error says it all.
    return [set_aside(reason)] if reason.startswith(NO_HANDLER) or _TWICE in reason or not found.item.errors else []


def encode(result: TaskResult[Any, Any], payload: Any, value: Any) -> bytes:
    """What a successful task leaves: all that ``get_result`` has to know once its item is gone."""
    left = {
        "payload": payload,
        "enqueued": _seconds(result.enqueued_at),
        "started": _seconds(result.started_at),
        "attempted": _seconds(result.last_attempted_at),
        "errors": [{"type": error.exception_class_path, "traceback": error.traceback} for error in result.errors],
        "workers": result.worker_ids,
        "value": value,
    }
    return json.dumps(left, separators=(",", ":")).encode()


def decode(item_id: str, text: str, finished: float) -> TaskResult[Any, Any] | str | None:
    """Undo :func:`encode`; the id of another item when this one was merged into it; None when it is no task's."""
    try:
        left = json.loads(text)
        if "same_as" in left:
            return str(left["same_as"])
        result = ready(item_id, Work.read(left["payload"]), float(left["enqueued"]))
        set_all(
            result,
            status=TaskResultStatus.SUCCESSFUL,
            started_at=moment(float(left["started"])),
            last_attempted_at=moment(float(left["attempted"])),
            finished_at=moment(finished),
            _return_value=left["value"],
        )
        result.errors.extend(error_of(entry) for entry in texts(left["errors"]))
        result.worker_ids.extend(str(worker) for worker in left["workers"])
    except (ValueError, TypeError, LookupError, exceptions.TaskUnusable):
        return None
    return result


def _seconds(time: Any) -> float | None:
    return None if time is None else float(time.timestamp())
