"""From a call of a task to the record that is pushed. Reads the clock, and nothing else."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from django_graceful.compat import Task, TaskResult
from django_graceful.items import TIMED, UNIQUE, UNTIL_FINISHED, encode_meta, encode_record, micros, new_id
from django_graceful.tasks import results
from django_graceful.tasks.naming import TaskQueue
from django_graceful.tasks.settings import TASK_KEYS, TaskConf, task_option
from django_graceful.tasks.work import Work, due_at


class Draft(NamedTuple):
    """One call, ready to be pushed, and its result until then."""

    record: bytes
    result: TaskResult[Any, Any]


def draft(task: Task[Any, Any], args: Any, kwargs: Any, conf: TaskConf, queue: TaskQueue) -> Draft:
    """Encode one call. Raises ``TypeError`` for an argument that JSON can not hold, and ``PayloadTooLarge``."""
    now = micros(time.time()) / 1e6  # as the record has it
    run_after = None if task.run_after is None else task.run_after.timestamp()
    path = task.module_path
    work = Work(path, list(args), dict(kwargs), task.backend, task.queue_name, int(task.priority), run_after)
    item_id = new_id()
    result = results.ready(item_id.hex(), work, now)
    results.set_all(result, task=task)
    work = Work(path, result.args, result.kwargs, task.backend, task.queue_name, int(task.priority), run_after)
    flags, meta = _terms(policy_of(task, conf), queue.plan.flags, conf)
    record = encode_record(
        item_id,
        work.encode(queue.plan.conf.max_payload),
        key=work.key if flags & UNIQUE else "",
        priority=int(task.priority),
        flags=flags,
        pushed_at=round(now * 1e6),
        not_before=micros(due_at(task.run_after, now)),
        meta=encode_meta(meta),
    )
    return Draft(record, result)


def _terms(policy: dict[str, Any], flags: int, conf: TaskConf) -> tuple[int, dict[str, Any]]:
    """Flags and meta of an item with this policy; ``flags`` are its queue's."""
    meta: dict[str, Any] = {}
    if "unique" in policy:
        flags &= ~(UNIQUE | UNTIL_FINISHED)
        flags |= {None: 0, "queued": UNIQUE, "finished": UNIQUE | UNTIL_FINISHED}[policy["unique"]]
    if policy.get("timeout") is not None:
        flags |= TIMED
        meta["timeout"] = policy["timeout"]
    if "max_attempts" in policy:
        meta["max_attempts"] = policy["max_attempts"]
    if flags & UNIQUE:
        meta["follow"] = conf.result_ttl or results.FOLLOWED
    return flags, meta


def policy_of(task: Task[Any, Any], conf: TaskConf) -> dict[str, Any]:
    """What is said of this task: by its decorator, else by the settings for its function."""
    found = dict(conf.tasks.get(task.module_path, {}))
    for option in TASK_KEYS.values():
        value = getattr(task, option, None)
        if value is not None:
            found[option] = task_option(option, value)
    return found
