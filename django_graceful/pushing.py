"""The steps of a push, each on plain values: work out the plan, encode the records, store them or wait for room.

Runs in the thread that pushes. Nothing is kept between two pushes; a push that raised stored nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

from django.db import transaction

from django_graceful import signals
from django_graceful.conf import Conf
from django_graceful.exceptions import QueueFull
from django_graceful.items import (
    MAX_PRIORITY,
    MIN_PRIORITY,
    RUN_ONCE,
    TIMED,
    UNIQUE,
    UNTIL_FINISHED,
    encode_meta,
    encode_payload,
    encode_record,
    id_of,
    micros,
    new_id,
)
from django_graceful.options import Options, coerce, coerce_delay, is_whole
from django_graceful.stores import get_store
from django_graceful.tracing import META

logger = logging.getLogger("django_graceful.queues")


@dataclass(slots=True, frozen=True)
class Plan:
    """What code and settings together say about pushes to one queue, worked out once for each ``Conf``."""

    conf: Conf
    options: Options
    flags: int
    #: The most items that may wait.
    limit: int


class Terms(NamedTuple):
    """What the caller of one push says about its items."""

    delay: float | timedelta | None = None
    priority: int | None = None
    key: str | int | None = None
    timeout: float | timedelta | None = None
    #: The trace context of the push.
    trace: dict[str, str] | None = None


#: From payload, the caller's key, and whether the queue is unique, to the item's key.
KeyOf = Callable[[Any, str | int | None, bool], str]


def make_plan(conf: Conf, options: Options) -> Plan:
    """The plan for a queue with these options."""
    flags = 0 if options.rerun else RUN_ONCE
    if options.unique is not None:
        flags |= UNIQUE | (UNTIL_FINISHED if options.unique == "finished" else 0)
    return Plan(conf, options, flags, options.length or conf.length)


def encode(payloads: Iterable[Any], plan: Plan, terms: Terms, key_of: KeyOf) -> list[bytes]:
    """One record for each payload. Raises what :meth:`Queue.push` says of its arguments."""
    now = time.time_ns() // 1000
    wait = 0.0 if terms.delay is None else coerce_delay(terms.delay)
    priority = plan.options.priority if terms.priority is None else _check_priority(terms.priority)
    limit, flags, unique = plan.conf.max_payload, plan.flags, plan.options.unique is not None
    due = now + micros(wait) if wait else 0
    meta = b""
    if terms.timeout is not None or terms.trace:
        flags, meta = _meta(terms, flags)
    return [
        encode_record(
            new_id(),
            encode_payload(payload, limit),
            key=key_of(payload, terms.key, unique),
            priority=priority,
            flags=flags,
            pushed_at=now,
            not_before=due,
            meta=meta,
        )
        for payload in payloads
    ]


def _meta(terms: Terms, flags: int) -> tuple[int, bytes]:
    """The flags and the meta of items with terms of their own."""
    found: dict[str, Any] = {META: terms.trace} if terms.trace else {}
    if terms.timeout is not None:
        flags, found["timeout"] = flags | TIMED, _check_timeout(terms.timeout)
    return flags, encode_meta(found)


def _check_priority(priority: int) -> int:
    if not is_whole(priority) or not MIN_PRIORITY <= priority <= MAX_PRIORITY:
        raise ValueError(f"priority must be a whole number from {MIN_PRIORITY} to {MAX_PRIORITY}, not {priority!r}")
    return priority


def _check_timeout(timeout: float | timedelta) -> float:
    try:
        return float(coerce("timeout", timeout))
    except ValueError as error:
        raise ValueError(f"timeout {error}") from None


def push_patiently(queue: str, records: list[bytes], plan: Plan) -> list[bytes]:
    """Push, and while the queue is full try again for ``PUSH_TIMEOUT`` seconds, more and more seldom."""
    limit, pause = plan.limit, 0.005
    if len(records) > limit:
        raise QueueFull(f"queue {queue!r} holds {limit} items at most: {len(records)} in one push never fit")
    store = get_store(plan.options.store)
    deadline = time.monotonic() + plan.conf.push_timeout
    while True:
        try:
            return store.push(queue, records, limit)
        except QueueFull:
            left = deadline - time.monotonic()
            if left <= 0:
                raise
        time.sleep(min(left, pause))
        pause = min(0.1, pause * 1.5)


def defer(on_commit: bool | str, records: list[bytes], push: Callable[[], list[bytes]]) -> list[bytes]:
    """Push when the transaction commits, or now when there is none; the ids, of those already there where known."""
    pushed: list[bytes] = []
    transaction.on_commit(lambda: pushed.extend(push()), using=None if on_commit is True else str(on_commit))
    return pushed or [id_of(record) for record in records]


def announce(queue: Any, ids: list[bytes]) -> None:
    """Send ``signals.pushed``. The items are stored by now, so nothing that a receiver does may look like an error."""
    if not signals.pushed.receivers:
        return
    try:
        signals.pushed.send_robust(sender=queue, item_ids=[i.hex() for i in ids])
    except RuntimeError:  # an async receiver, in a thread whose event loop runs
        logger.exception("queue %s: the receivers of pushed could not be called", queue.name)
