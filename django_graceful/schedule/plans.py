"""A schedule together with its queue: what its items look like, where they go, and what does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from django_graceful.conf import Conf
from django_graceful.items import encode_meta, encode_payload, encode_record
from django_graceful.options import nearest
from django_graceful.payloads import payload_key
from django_graceful.pushing import make_plan
from django_graceful.queues import Queue
from django_graceful.schedule.spec import Schedule
from django_graceful.schedule.state import META


@dataclass(slots=True, frozen=True)
class Plan:
    """What the ticks of a schedule push, under the settings of now."""

    schedule: Schedule
    #: The alias of the store.
    store: str
    priority: int
    flags: int
    key: str
    payload: bytes
    #: The most items that may wait in the queue.
    limit: int

    def record(self, item_id: bytes, now: float) -> bytes:
        """An item that is pushed ``now`` (seconds since the epoch)."""
        return encode_record(
            item_id,
            self.payload,
            key=self.key,
            priority=self.priority,
            flags=self.flags,
            pushed_at=int(now * 1_000_000),
            meta=encode_meta({META: self.schedule.name}),
        )


def misfit(schedule: Schedule, queues: Mapping[str, Queue[Any]], conf: Conf) -> tuple[str, str] | None:
    """Why this schedule can not push, as the id of its check and in words; None: it can."""
    queue = queues.get(schedule.queue)
    if queue is None:
        near = nearest(schedule.queue, queues)
        return "E030", f"queue {schedule.queue!r}, which no app's queues.py declares{near}"
    try:
        options = queue.options_under(conf)
    except ImproperlyConfigured:  # another check says so
        return None
    store = conf.stores.get(options.store)
    if store is not None and store.backend == "memory":
        return "E031", f"queue {schedule.queue!r}, which is in the memory store {store.alias!r}: no runner sees it"
    if options.unique is not None and queue.key is not None and schedule.key is None:
        return "E032", f"queue {schedule.queue!r}, which has a key function, that no runner calls, and gives no key"
    return None


def plan_of(schedule: Schedule, queue: Queue[Any], conf: Conf) -> Plan:
    """The plan of a schedule that fits. Raises :class:`~django_graceful.exceptions.PayloadTooLarge`."""
    options = queue.options_under(conf)
    plan = make_plan(conf, options)
    payload = encode_payload(schedule.payload, conf.max_payload)
    unnamed = payload_key(schedule.payload) if options.unique is not None else ""
    key = unnamed if schedule.key is None else schedule.key
    return Plan(schedule, options.store, options.priority, plan.flags, key, payload, plan.limit)
