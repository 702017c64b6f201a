"""The head of a queue: its first waiting items, in memory, in order.

Looking for the first key of a queue in LevelDB means walking over the marks of all that were deleted before it, which
is a hundred times slower than knowing it. The head holds every waiting item whose key is before ``beyond``; those after
it are on disk only and are loaded in one stretch when the head runs out, starting at ``beyond`` and not at the front.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from typing import Final

#: Key and record of a waiting item.
Entry = tuple[bytes, bytes]

#: Items are added while the head has less than this, in number and in bytes.
LENGTH: Final = 4000
BYTES: Final = 8 << 20


class Head:
    """The first items of one queue. ``start`` is before every key of the queue: a new head knows nothing yet."""

    __slots__ = ("_size", "beyond", "entries")

    def __init__(self, start: bytes) -> None:
        self.entries: list[Entry] = []
        #: The first key that may wait on disk only; None: the head is the whole queue.
        self.beyond: bytes | None = start
        self._size = 0

    def add(self, key: bytes, record: bytes) -> None:
        """One item more waits."""
        entries = self.entries
        if self.beyond is not None and key >= self.beyond:
            return
        if not entries or key > entries[-1][0]:
            if len(entries) >= LENGTH or self._size >= BYTES:
                self.beyond = key
                return
            entries.append((key, record))
        else:
            insort(entries, (key, record))
        self._size += len(record)
        if len(entries) > 2 * LENGTH or self._size > 3 * BYTES:
            self._trim()

    def load(self, found: Iterable[Entry], beyond: bytes | None) -> None:
        """What was found on disk from :attr:`beyond` on, in order; from the new ``beyond`` on there may be more."""
        for entry in found:
            self.entries.append(entry)
            self._size += len(entry[1])
        self.beyond = beyond

    def take(self, limit: int) -> list[Entry]:
        """Up to ``limit`` items leave the head, in order."""
        taken = self.entries[:limit]
        del self.entries[:limit]
        self._size -= sum([len(record) for _, record in taken])
        return taken

    def remove(self, key: bytes) -> None:
        """This item waits no more, wherever it was."""
        at = bisect_left(self.entries, (key,))
        if at < len(self.entries) and self.entries[at][0] == key:
            self._size -= len(self.entries.pop(at)[1])

    def skip_to(self, key: bytes | None) -> None:
        """Nothing waits on disk before ``key``; None: nothing does at all."""
        if self.beyond is not None and (key is None or key > self.beyond):
            self.beyond = key

    def _trim(self) -> None:
        """Urgent items came in at the front of a full head: forget the last ones."""
        while len(self.entries) > LENGTH or self._size > 2 * BYTES:
            self.beyond, record = self.entries.pop()
            self._size -= len(record)
