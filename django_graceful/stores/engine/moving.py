"""Items on their way from and to another store (:mod:`django_graceful.stores.moving`)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from django_graceful.items import State
from django_graceful.stores.engine import counters, keys, records
from django_graceful.stores.engine.core import Core
from django_graceful.stores.engine.desk import TABLES, Desk
from django_graceful.stores.values import Kept

_NUMBERS = {State.DEAD: (counters.DEAD, counters.DIED), State.CANCELLED: (counters.CANCELLED, counters.STOPPED)}


def kept(core: Core, desk: Desk, queue: str, state: State, limit: int) -> list[Kept]:
    """See :meth:`~django_graceful.stores.base.StoreOwner.kept`."""
    lane = core.lanes.get(queue)
    if lane is None:
        return []
    aside = state in _NUMBERS
    found = ((records.id_of(value), key, value) for _, key, value in desk.places(lane, state))
    readable = (Kept(item_id.hex(), keys.time_of(key) if aside else 0, form) for item_id, key, form in found if item_id)
    return list(islice(readable, limit))


def set_aside(core: Core, queue: str, state: State, items: Sequence[Kept]) -> None:
    """See :meth:`~django_graceful.stores.base.StoreOwner.set_aside`."""
    lane = core.lane(queue)
    step = core.step()
    sequence, tally = core.reserve(step, len(items)), step.tally(lane)
    for one in items:
        where = keys.INDEX + bytes.fromhex(one.id)
        if step.get(where) is not None:
            continue
        key = keys.timed(TABLES[state], lane.number, one.at, sequence)
        step.changes[key] = one.form
        step.changes[where] = key
        for number in (counters.PUSHED, *_NUMBERS[state]):
            tally[number] += 1
        sequence += 1
    step.commit()
