"""Handovers of the outbox: an item of an outbox is taken in once, however often it is handed over (promise P12).

The note that it was is written in the same step as the item, and outlives the item: so it counts also when the item is
finished long before somebody hands it over again. Each further handover renews the note. It is forgotten on request
only, because only those who see the outbox know when nobody can hand it over any more.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

from django_graceful.items import micros
from django_graceful.stores.engine import keys
from django_graceful.stores.engine.core import Core, Step

#: The most that are forgotten in one write, so that it never holds the owner up.
STRETCH: Final = 5000


def note(step: Step, item_id: bytes, now: int) -> bool:
    """Note that this item was handed over; whether it had been before."""
    where = keys.HANDED + item_id
    before = step.get(where)
    if before is not None:
        step.changes[keys.handed_at(keys.read_u64(before), item_id)] = None
    step.changes[where] = keys.u64(now)
    step.changes[keys.handed_at(now, item_id)] = b""
    return before is not None


class Handovers:
    """Forgets what was handed over long ago."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._forgotten = keys.HANDED_AT

    def forget(self, age: float) -> int:
        """Forget a stretch of the notes that are at least ``age`` seconds old; how many."""
        stop = keys.handed_at(max(0, self._core.now() - micros(age)) + 1)
        changes: dict[bytes, bytes | None] = {}
        last = b""
        for last, _ in islice(self._core.kv.scan(min(self._forgotten, stop), stop), STRETCH):
            changes[last] = changes[keys.HANDED + last[9:]] = None
        if changes:
            self._core.kv.write(changes, sync=False)
            self._forgotten = last
        return len(changes) // 2
