"""``OPTIONS`` of an entry in ``TASKS``: read and checked in one place. Pure but for :func:`entry_of`.

Those of a queue (``STORE``, ``MAX_ATTEMPTS``, ``TIMEOUT`` …) are the defaults of the backend's queues, which
``GRACEFUL["QUEUES"]`` may change one by one, as those of any other queue.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from django.conf import settings
from django.utils.module_loading import import_string

from django_graceful.conf import Fault
from django_graceful.options import OVERRIDES, Options, coerce, nearest, seconds, whole

BACKEND: Final = "django_graceful.tasks.GracefulBackend"
#: Backends that are certainly not ours; others are looked at, because they may be subclasses.
_FOREIGN: Final = ("django.tasks.", "django_tasks.")

#: What a task's queue can be told.
QUEUE_KEYS: Final = {
    key: name for key, name in OVERRIDES.items() if name not in ("batch_length", "batch_wait", "priority", "immediate")
}
#: What a single task can be told.
TASK_KEYS: Final = {"MAX_ATTEMPTS": "max_attempts", "TIMEOUT": "timeout", "UNIQUE": "unique"}
_OWN_KEYS: Final = ("ENQUEUE_ON_COMMIT", "MAX_RESULT", "RESULT_TTL", "TASKS")


@dataclass(slots=True, frozen=True)
class TaskConf:
    """``OPTIONS`` with defaults filled in. Seconds and bytes."""

    #: As an app that was written for Django's framework expects, a task that raised is FAILED, not tried again.
    queue: Options = field(default_factory=lambda: Options(max_attempts=1))
    #: How long the result of a successful task is kept; 0: not at all.
    result_ttl: float = 7 * 86_400.0
    #: The longest return value, as JSON.
    max_result: int = 1 << 20
    #: A database alias or True: hand tasks over when its transaction commits.
    on_commit: bool | str = False
    #: By dotted path of the function, what is said of one task.
    tasks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def read(alias: str, raw: Any) -> tuple[TaskConf, list[Fault]]:
    """``OPTIONS`` as a :class:`TaskConf`, and what is wrong with it; that is left out."""
    where = f"TASKS[{alias!r}]['OPTIONS']"
    if not isinstance(raw, Mapping):
        return TaskConf(), [Fault(where, f"must be a dict, not {type(raw).__name__}", "Leave it out for the defaults.")]
    known = (*QUEUE_KEYS, *_OWN_KEYS)
    faults = [_unknown(where, key, known) for key in raw if key not in known]
    queue = {"max_attempts": 1} | _read_each(where, raw, QUEUE_KEYS, faults)
    own: dict[str, Any] = {}
    for key, convert in (("RESULT_TTL", seconds(0)), ("MAX_RESULT", whole(1, 64 << 20))):
        if key in raw:
            try:
                own[key.lower()] = convert(raw[key])
            except ValueError as error:
                faults.append(Fault(f"{where}[{key!r}]", str(error), "Leave it out for the default."))
    on_commit = _read_on_commit(where, raw.get("ENQUEUE_ON_COMMIT"), faults)
    tasks = _read_tasks(f"{where}['TASKS']", raw.get("TASKS", {}), faults)
    try:
        return TaskConf(Options(**queue), on_commit=on_commit, tasks=tasks, **own), faults
    except ValueError as error:
        return TaskConf(), [*faults, Fault(where, str(error), "Leave one of them out.")]


def entry_of(alias: str) -> Mapping[str, Any] | None:
    """The entry of that alias in ``TASKS``, when its backend is ours; else None."""
    found = backends().get(alias)
    return found if found is not None and _is_ours(found.get("BACKEND")) else None


def backends() -> dict[str, Mapping[str, Any]]:
    """``TASKS``, whatever of it is in order."""
    raw = getattr(settings, "TASKS", None)
    entries = raw.items() if isinstance(raw, Mapping) else ()
    return {alias: entry for alias, entry in entries if isinstance(alias, str) and isinstance(entry, Mapping)}


def _is_ours(path: Any) -> bool:
    if path == BACKEND:
        return True
    if not isinstance(path, str) or path.startswith(_FOREIGN):
        return False
    with suppress(ImportError):
        found = import_string(path)
        return isinstance(found, type) and any(f"{c.__module__}.{c.__qualname__}" == _HOME for c in found.__mro__)
    return False


_HOME: Final = "django_graceful.tasks.backend.GracefulBackend"


def _unknown(where: str, key: Any, known: tuple[str, ...]) -> Fault:
    what = f"is not known{nearest(str(key), known)}"
    return Fault(f"{where}[{key!r}]", what, f"Known keys: {', '.join(sorted(known))}.")


def _read_each(where: str, raw: Mapping[str, Any], names: Mapping[str, str], faults: list[Fault]) -> dict[str, Any]:
    found = {}
    for key, name in names.items():
        if key in raw:
            try:
                found[name] = coerce(name, _plain(name, raw[key]))
            except ValueError as error:
                faults.append(Fault(f"{where}[{key!r}]", str(error), "Leave it out for the default."))
    return found


def _plain(name: str, value: Any) -> Any:
    """``unique`` may also be True, which is ``"queued"``, or False."""
    return {True: "queued", False: None}[value] if name == "unique" and isinstance(value, bool) else value


def task_option(name: str, value: Any) -> Any:
    """One of the values of :data:`TASK_KEYS`, converted. Raises ``ValueError`` that says what it must be."""
    return coerce(name, _plain(name, value))


def _read_on_commit(where: str, raw: Any, faults: list[Fault]) -> bool | str:
    if raw is None or isinstance(raw, bool):
        return bool(raw)
    if not isinstance(raw, str) or raw not in settings.DATABASES:
        what = f"must be True, False or the alias of a database, not {raw!r}"
        known = f"DATABASES has: {', '.join(settings.DATABASES) or 'none'}."
        faults.append(Fault(f"{where}['ENQUEUE_ON_COMMIT']", what, known))
        return False
    return raw


def _read_tasks(where: str, raw: Any, faults: list[Fault]) -> dict[str, dict[str, Any]]:
    example = "For example: {'shop.tasks.bill': {'MAX_ATTEMPTS': 5}}."
    if not isinstance(raw, Mapping):
        faults.append(Fault(where, f"must be a dict, not {type(raw).__name__}", example))
        return {}
    found = {}
    for path, entry in raw.items():
        place = f"{where}[{path!r}]"
        if not isinstance(path, str) or not isinstance(entry, Mapping):
            faults.append(Fault(place, "must be a dict, under the dotted path of a task", example))
            continue
        faults += [_unknown(place, key, tuple(TASK_KEYS)) for key in entry if key not in TASK_KEYS]
        found[path] = _read_each(place, entry, TASK_KEYS, faults)
    return found
