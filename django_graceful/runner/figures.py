"""What a runner counts of one queue since it started: how runs ended, how long items waited, how long runs took.

Plain values in the master's loop, published with what it shows of itself. A run is the run of one item, or of one
batch. Of a run whose worker died only the outcome is known, so it has no time.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from django_graceful.items import HEADER, Outcome
from django_graceful.stores.values import Lease

#: The upper ends of the buckets, in seconds; one more bucket is beyond them. What a worker tells of several short runs
#: at once took less than the first of them each, so means put no run into a wrong bucket.
EDGES: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
#: Of more items that end together, so many are looked at, evenly spread: they were pushed one after the other.
_SAMPLES: Final = 32
#: When an item was pushed, and when it was due (0: at once), in µs; before the id at the end of the header.
_TIMES: Final = struct.Struct("<qq")
_TIMES_AT: Final = HEADER.size - 16 - _TIMES.size


class Histogram:
    """Durations, counted in buckets, and their sum in seconds."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(EDGES) + 1)
        self.seconds = 0.0

    def observe(self, seconds: float, times: int = 1) -> None:
        """So many took that long, each."""
        self.counts[bisect_left(EDGES, seconds)] += times
        self.seconds += seconds * times

    def shown(self) -> dict[str, Any]:
        """As JSON holds it; each count is that of its bucket alone."""
        return {"counts": list(self.counts), "seconds": self.seconds}


class Figures:
    """The figures of one queue."""

    __slots__ = ("crashes", "outcomes", "ran", "waited")

    def __init__(self) -> None:
        self.outcomes: Counter[Outcome] = Counter()
        #: Runs whose worker died under them, whatever became of the item.
        self.crashes = 0
        #: From the push, or from the time for which it was delayed or retried, to the beginning of the run.
        self.waited = Histogram()
        self.ran = Histogram()

    def took(self, leases: Sequence[Lease], runs: int, seconds: float, now: float) -> None:
        """These items were run in so many runs, which took ``seconds`` together and ended just ``now`` (epoch
        seconds). Several are told at once only when all of them were short.
        """
        if not leases or not runs:
            return
        self.ran.observe(seconds / runs, runs)
        step = 1 + (len(leases) - 1) // _SAMPLES
        began, left = now - seconds, len(leases)
        for lease in leases[::step]:
            self.waited.observe(_waited(lease.record, began), min(step, left))
            left -= step

    def shown(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "outcomes": {str(outcome): self.outcomes[outcome] for outcome in Outcome},
            "crashes": self.crashes,
            "waited": self.waited.shown(),
            "ran": self.ran.shown(),
        }


def _waited(record: bytes, began: float) -> float:
    """Seconds; 0 for a damaged record, and where the clocks of two hosts do not agree."""
    if len(record) < HEADER.size:
        return 0.0
    pushed, due = _TIMES.unpack_from(record, _TIMES_AT)
    since: int = due or pushed
    return max(0.0, began - since / 1e6)
