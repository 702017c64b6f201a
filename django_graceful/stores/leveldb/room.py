"""Whether there is room for one more push: what waits in the store and in the inbox, found without a round trip.

Runs in the producer. Exact as long as nobody else pushes at the same moment. The inbox part is first bounded from above
(bytes / smallest record); only when that bound reaches the limit are the records counted, each once per process.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_right
from contextlib import suppress
from pathlib import Path
from typing import Final

from django_graceful.exceptions import QueueFull
from django_graceful.items import HEADER
from django_graceful.stores.leveldb.board import BoardReader
from django_graceful.stores.leveldb.board_file import Position, place
from django_graceful.stores.leveldb.frames import MAGIC, MAX_FRAME, PEEK, next_good, peek
from django_graceful.stores.leveldb.segments import DIRECTORY, numbers, open_segment, segment_path

#: No record takes fewer bytes in a segment: its header and, in a frame of many, its length.
SMALLEST: Final = HEADER.size + 4
_CHUNK: Final = 64 << 10


class Tally:
    """The records of one segment, counted as far as ``reached``."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.size = 0
        self.reached = 0
        self._ends: dict[str, array[int]] = {}
        self._window = (0, b"")

    def beyond(self, queue: str, position: Position) -> int:
        """How many counted records of ``queue`` the owner has not taken in yet."""
        ends = self._ends.get(queue)
        return len(ends) - bisect_right(ends, self._start(position)) if ends else 0

    def uncounted(self, position: Position) -> int:
        """How many bytes there are that were neither counted nor taken in."""
        return max(0, self.size - max(self.reached, self._start(position)))

    def count(self, fd: int, position: Position) -> None:
        """Count on to the end of the segment, from the owner's place when that is further."""
        start = self._start(position)
        if start >= self.reached:
            self._ends.clear()
            self.reached = start
        self._window = (0, b"")
        while self.reached < self.size and self._step(fd):
            pass

    def _start(self, position: Position) -> int:
        if self.number == position.segment:
            return position.offset
        return 0 if self.number > position.segment else self.size

    def _step(self, fd: int) -> bool:
        """Count one frame, or pass over a damaged stretch; False when nothing whole follows."""
        at = self.reached
        frame = peek(self._bytes(fd, at, PEEK))
        if frame is not None:
            length, queue, records = frame
            end = at + length
            # a frame is believed when it ends where the next one starts: its checksum would cost reading it all
            if end == self.size or (end < self.size and self._bytes(fd, end, len(MAGIC)) == MAGIC):
                self._ends.setdefault(queue, array("Q")).extend([end] * records)
                self.reached = end
                return True
        good = next_good(os.pread(fd, min(self.size - at, MAX_FRAME), at), 1)
        if good > 0:
            self.reached = at + good
        return good > 0

    def _bytes(self, fd: int, at: int, count: int) -> bytes:
        base, data = self._window
        if not base <= at <= base + len(data) - count:
            base, data = self._window = (at, os.pread(fd, _CHUNK, at))
        return data[at - base : at - base + count]


class Room:
    """What one process knows of how full the queues of a store are. One thread at a time."""

    def __init__(self, store: Path, board: BoardReader) -> None:
        self._store, self._board = store, board
        self._tallies: dict[int, Tally] = {}

    def check(self, queue: str, adding: int, limit: int, number: int, size: int) -> None:
        """Raise :class:`~django_graceful.exceptions.QueueFull` when ``adding`` more would be above ``limit``.

        The caller writes to segment ``number``, which has ``size`` bytes now. Raises ``OSError``.
        """
        if number not in self._tallies:
            self._survey()
        if number in self._tallies:
            self._tallies[number].size = size
        head = self._board.look()
        if self._board.depth(queue, head) + self._bound(queue, place(head)) + adding <= limit:
            return
        waiting = self.waiting(queue)
        if waiting + adding > limit:
            raise QueueFull(
                f"queue {queue}: {waiting} items wait and its limit is {limit}: no room for {adding} more."
                " Is a runner (manage.py runqueues) handling this queue?"
            )

    def waiting(self, queue: str) -> int:
        """How many items of ``queue`` wait, in the store and in the inbox, counted one by one. Raises ``OSError``."""
        position = self._board.position
        self._count(position)
        depth = self._board.depth(queue)
        return depth + sum(tally.beyond(queue, position) for tally in self._tallies.values())

    def forget(self) -> None:
        """The caller goes on with another segment."""
        self._tallies.clear()

    def _bound(self, queue: str, position: Position) -> int:
        counted = uncounted = 0
        for tally in self._tallies.values():
            counted += tally.beyond(queue, position)
            uncounted += tally.uncounted(position)
        return counted + uncounted // SMALLEST

    def _survey(self) -> None:
        """Find the segments that are there now and their sizes."""
        found = {}
        for number in numbers(self._store / DIRECTORY):
            with suppress(FileNotFoundError):
                size = segment_path(self._store / DIRECTORY, number).stat().st_size
                found[number] = self._tallies.get(number) or Tally(number)
                found[number].size = size
        self._tallies = found

    def _count(self, position: Position) -> None:
        self._survey()
        for tally in self._tallies.values():
            with suppress(FileNotFoundError):
                fd = open_segment(self._store / DIRECTORY, tally.number)
                try:
                    tally.count(fd, position)
                finally:
                    os.close(fd)
