"""Housekeeping: expired results and old cancelled items go."""

from __future__ import annotations

import json
from itertools import islice
from typing import Final

from django_graceful.items import micros
from django_graceful.stores.engine import counters, keys, records
from django_graceful.stores.engine.core import Core

#: Seconds that a cancelled item is kept.
CANCELLED_FOR: Final = 7 * 86400.0
#: The most that one sweep removes of each kind, so that it never holds the owner up.
SWEEP: Final = 5000


class Housekeeping:
    """Removes what nobody waits for any more."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._swept = keys.EXPIRY

    def sweep(self) -> None:
        self.results()
        self.cancelled()

    def results(self) -> None:
        """Results whose time is over go; one that was replaced by a later one has a later entry."""
        step = self._core.step()
        stop = keys.expiry(self._core.now() + 1, b"")
        last = b""
        for last, _ in islice(self._core.kv.scan(min(self._swept, stop), stop), SWEEP):
            where = keys.RESULT + last[9:]
            if _expires(step.get(where)) <= int.from_bytes(last[1:9]):
                step.changes[where] = None
            step.changes[last] = None
        if last:
            step.commit()
            self._swept = last

    def cancelled(self) -> None:
        """Cancelled items go after a week."""
        before = max(0, self._core.now() - micros(CANCELLED_FOR))
        for lane in self._core.lanes.values():
            if not lane.tally[counters.CANCELLED]:
                continue
            step = self._core.step()
            stop = keys.timed(keys.CANCELLED, lane.number, before, 0)
            for key, value in islice(self._core.kv.scan(lane.prefix(keys.CANCELLED), stop), SWEEP):
                step.changes[key] = None
                where = keys.INDEX + records.id_of(value)
                if step.get(where) == key:
                    step.changes[where] = None
                step.tally(lane)[counters.CANCELLED] -= 1
            if step.changes:
                step.commit()


def _expires(value: bytes | None) -> int:
    try:
        return int(json.loads(value)["expires"]) if value is not None else 0
    except (ValueError, TypeError, LookupError):
        return 0
