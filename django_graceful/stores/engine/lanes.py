"""A lane: one queue as the owner knows it, most of it in memory.

The stored truth is in the map; a lane can be thrown away and loaded again at any time. Only the owner's thread uses it.
"""

from __future__ import annotations

from django_graceful.stores.engine import counters, keys
from django_graceful.stores.engine.heads import Entry, Head

#: In :attr:`Lane.out`: the item is not leased but passed over, because another of its key runs.
PARKED = 0


class Lane:
    """Number, numbers, head and schedule of one queue."""

    __slots__ = ("due_from", "first_due", "head", "name", "number", "out", "parked", "paused", "running", "tally")

    def __init__(self, name: str, number: int, tally: counters.Tally, *, paused: bool) -> None:
        self.name = name
        self.number = number
        self.tally = tally
        self.paused = paused
        self.running = 0
        #: Ready keys that are not the head's to give: their execution, or :data:`PARKED`.
        self.out: dict[bytes, int] = {}
        #: Passed-over items by their unique key, until the run of that key ends.
        self.parked: dict[bytes, list[Entry]] = {}
        self.head = Head(self.prefix(keys.READY))
        #: No delayed item has a key before this one, so that looking for the first walks over no deleted ones.
        self.due_from = self.prefix(keys.DELAYED)
        #: The key of the delayed item that is due first; empty: there is none; None: look for it.
        self.first_due: bytes | None = None

    def prefix(self, table: bytes) -> bytes:
        """How this queue's keys begin in ``table``."""
        return keys.numbered(table, self.number)

    @property
    def waiting(self) -> int:
        """Items that are ready and do not run."""
        return self.tally[counters.READY] - self.running

    @property
    def depth(self) -> int:
        """Items that wait in any way, which is what a queue's limit is about."""
        return self.depth_of(self.tally)

    def depth_of(self, tally: counters.Tally) -> int:
        """The depth when these are the lane's numbers."""
        return tally[counters.READY] - self.running + tally[counters.SCHEDULED] + tally[counters.RETRYING]

    @property
    def leasable(self) -> int:
        """Items that a lease could give now, as far as is known: a running key is found at the first try."""
        return 0 if self.paused else self.waiting - sum(map(len, self.parked.values()))

    def park(self, ukey: bytes, entry: Entry) -> None:
        """Pass this item over until the run of its key ends."""
        self.parked.setdefault(ukey, []).append(entry)
        self.out[entry[0]] = PARKED

    def unpark(self, ukey: bytes) -> None:
        """The run of that key ended: what was passed over waits in its place again."""
        for key, record in self.parked.pop(ukey, ()):
            del self.out[key]
            self.head.add(key, record)

    def forget(self, key: bytes) -> None:
        """This waiting item is no more."""
        if self.out.get(key) == PARKED:
            del self.out[key]
            self.parked = {
                ukey: rest
                for ukey, entries in self.parked.items()
                if (rest := [entry for entry in entries if entry[0] != key])
            }
        else:
            self.head.remove(key)

    def delay(self, key: bytes) -> None:
        """One delayed item more, at ``key``."""
        self.due_from = min(self.due_from, key)
        if self.first_due is not None and (not self.first_due or key < self.first_due):
            self.first_due = key

    def undelay(self, key: bytes) -> None:
        """This delayed item is no more."""
        if key == self.first_due:
            self.first_due = None

    def front(self) -> bytes | None:
        """No waiting item has a key before this one; None: no item waits."""
        known = [key for entries in self.parked.values() for key, _ in entries]
        if self.head.entries:
            known.append(self.head.entries[0][0])
        if self.head.beyond is not None:
            known.append(self.head.beyond)
        return min(known, default=None)
