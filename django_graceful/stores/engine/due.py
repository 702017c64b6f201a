"""Delayed and retrying items: when the next is due, and making ready what is.

Only the stored due time and the clock decide, at the moment of asking. So a clock that steps back makes items wait
longer and one that steps forth makes them ready earlier, but none is forgotten.
"""

from __future__ import annotations

from itertools import islice

from django_graceful.stores.engine import keys, records
from django_graceful.stores.engine.core import Core, Step
from django_graceful.stores.engine.lanes import Lane


def first_due(core: Core, lane: Lane) -> int | None:
    """When (µs) the next item of this queue is due; None when none is delayed."""
    if lane.first_due is None:
        key, _ = next(core.items(keys.DELAYED, lane, lane.due_from), (b"", b""))
        lane.first_due = key
        lane.due_from = key or keys.beyond(lane.prefix(keys.DELAYED))
    return keys.time_of(lane.first_due) if lane.first_due else None


def make_due(core: Core, lane: Lane, limit: int) -> int:
    """Up to ``limit`` items whose time has come are ready, in the place of their push. How many were met."""
    due = first_due(core, lane)
    now = core.now()
    if due is None or due > now:
        return 0
    stop = keys.timed(keys.DELAYED, lane.number, now + 1, 0)
    found = list(islice(core.kv.scan(lane.due_from, stop), limit))
    step = core.step()
    for key, record in found:
        if not records.fault(record):
            _make_ready(step, lane, key, record, now)
    step.then(_passed, lane, found[-1][0])
    step.commit()
    for key, record in found:
        if reason := records.fault(record):
            core.set_aside(lane, key, record, reason)
    return len(found)


def _make_ready(step: Step, lane: Lane, delayed: bytes, record: bytes, now: int) -> None:
    step.changes[delayed] = None
    step.tally(lane)[records.delayed_as(record)] -= 1
    step.wait(lane, record, keys.sequence_of(delayed), now)


def _passed(lane: Lane, last: bytes) -> None:
    lane.due_from = last + b"\0"
    lane.first_due = None
