"""The inbox, as the owner sees it: what was pushed is taken in exactly once, in order, and segments are cleared away.

Used by the one thread that owns the store, in three steps: :meth:`Intake.read` gives records and how far they reach;
the caller writes both in *one* batch; :meth:`Intake.advance` moves on. Whoever is killed between two of them finds the
stored offsets at the next :meth:`Intake.open`, and nothing is taken in twice or left out. Without ``advance`` the next
``read`` gives the same records again.

Never waits for a lock, so a producer that is stopped or killed at any place stops nothing. A damaged stretch is passed
over, kept in ``aside/`` and reported as soon as an undamaged frame follows it. When none does, it is the unfinished end
of a push: it is left alone unless the exclusive lock shows that nobody writes, and then the owner writes a mark behind
it, which makes it such a stretch. (The mark also keeps a producer from truncating what the owner has judged.)

Order: when several segments take pushes, their sizes are looked up newest first and they are read oldest first, so a
record is never taken in before an older one of the same producer.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from django_graceful.stores.leveldb import segments
from django_graceful.stores.leveldb.aside import Aside
from django_graceful.stores.leveldb.board import Board
from django_graceful.stores.leveldb.files import explain, make_directory
from django_graceful.stores.leveldb.reading import Reading

#: A segment of which so many bytes have been taken in is left for a fresh one.
ROTATE_AT: Final = 4 << 20


@dataclass(slots=True)
class Taken:
    """What :meth:`Intake.read` found."""

    #: Queue and record, in order.
    entries: list[tuple[str, bytes]] = field(default_factory=list)
    #: By segment id: how far it has been taken in once ``entries`` are stored. To be stored with them.
    positions: dict[bytes, int] = field(default_factory=dict)
    #: There is more to read at once.
    more: bool = False
    #: For the log: what was damaged, and where it is kept.
    damage: list[str] = field(default_factory=list)


class Intake:
    """The way out of the inbox of the store at ``directory``, for the one process that holds the store's lock."""

    def __init__(
        self,
        directory: Path,
        mode: int = 0o600,
        fsync: bool = False,
        *,
        board: Board | None = None,
        rotate_at: int = ROTATE_AT,
    ) -> None:
        self._directory, self._mode, self._fsync = directory, mode, fsync
        self._inbox = directory / segments.DIRECTORY
        self._board, self._rotate_at = board, rotate_at
        self._aside = Aside(directory, mode)
        self._judged: set[tuple[int, int]] = set()
        self._segments: list[Reading] = []
        self._offsets: dict[bytes, int] = {}
        self._gone: list[bytes] = []
        self._reading = 0

    @property
    def segments(self) -> list[tuple[int, int]]:
        """Number and offset of each segment, oldest first."""
        return [(segment.number, segment.offset) for segment in self._segments]

    def open(self, offsets: Mapping[bytes, int]) -> None:
        """Begin where the stored ``offsets`` (segment id → bytes taken in) say. Makes what is missing.

        Raises :class:`~django_graceful.exceptions.StoreUnavailable` when the inbox can not be read or written.
        """
        self._offsets = dict(offsets)
        with self._explained():
            make_directory(self._directory, segments.DIRECTORY, self._mode, fsync=self._fsync)
            segments.clean(self._inbox)
            self._look()
        self._gone += set(offsets) - {segment.id for segment in self._segments}
        self._publish()

    def close(self) -> None:
        """Let go of the files. What was not advanced over is read again by the next owner."""
        while self._segments:
            self._segments.pop().close()

    def pending(self) -> bool:
        """Whether :meth:`read` would find something new. Cheap: one directory listing and one ``fstat``."""
        with self._explained():
            self._look()
            return any(segment.size() > max(segment.offset, segment.stuck) for segment in self._segments)

    def read(self, limit: int = 2000) -> Taken:
        """The next records, at least one and about ``limit`` when there are so many (one push is never divided).

        Raises :class:`~django_graceful.exceptions.StoreUnavailable` when a file can not be read.
        """
        taken = Taken()
        for segment in self._segments:
            segment.reached = segment.offset
        with self._explained():
            self._look()
            ends = [segment.size() for segment in reversed(self._segments)]
            for segment, end in zip(self._segments, reversed(ends), strict=True):
                taken.more = not self._read_segment(segment, end, limit, taken)
                if segment.reached != segment.offset:
                    taken.positions[segment.id] = segment.reached
                if taken.more:
                    break
        return taken

    def advance(self) -> list[bytes]:
        """The last :meth:`read` is stored: move on, clear away what has been taken in whole.

        The ids that are returned belong to segments that are gone; their stored offsets may be deleted.
        Raises :class:`~django_graceful.exceptions.StoreUnavailable`.
        """
        for segment in self._segments:
            segment.offset = segment.reached
        with self._explained():
            if self._segments and self._segments[-1].offset >= self._rotate_at:
                # without space it stays as it is; the pushes will say so
                with suppress(OSError):
                    segments.create(self._directory, self._segments[-1].number + 1, self._mode, fsync=self._fsync)
                    self._look()
            for segment in self._segments[:-1]:
                if segment.offset >= segment.size() and segment.seal():
                    self._drop(segment)
        self._publish()
        gone, self._gone = self._gone, []
        return gone

    def _look(self) -> None:
        """Find out which segments there are."""
        try:
            found = segments.numbers(self._inbox)
        except FileNotFoundError:
            found = []
        for segment in self._segments[:]:
            # another file may have its number by now, when somebody has removed the directory
            if segment.number not in found or not os.fstat(segment.fd).st_nlink:
                self._drop(segment)
        known = {segment.number for segment in self._segments}
        for number in found:
            if number not in known:
                self._open(number)
        self._segments.sort(key=lambda segment: segment.number)
        if not self._segments or not self._segments[-1].fresh:
            number, fd = segments.open_newest(self._directory, self._mode, fsync=self._fsync)
            os.close(fd)
            self._open(number)

    def _open(self, number: int) -> None:
        with suppress(FileNotFoundError):
            segment = Reading.open(self._inbox, number)
            segment.offset = segment.reached = self._offsets.pop(segment.id, 0)
            self._segments.append(segment)

    def _drop(self, segment: Reading) -> None:
        segment.close()
        self._segments.remove(segment)
        self._gone.append(segment.id)

    def _read_segment(self, segment: Reading, end: int, limit: int, taken: Taken) -> bool:
        """Read on, up to ``end``. False: there is more of this segment to be read before the next one."""
        self._reading = segment.number
        at = segment.offset
        while at < end:
            if len(taken.entries) >= limit:
                return False
            if end == segment.stuck:
                return not segment.judge(at, end)
            data, found = segment.window(at, end, limit - len(taken.entries))
            taken.entries += found.entries
            for first, last in found.damage:
                self._set_aside(segment, at + first, data[first:last], taken)
            if not found.end:
                # what was found is stored first, then the end is looked at again
                return False if taken.entries else not segment.judge(at, end)
            at = segment.reached = at + found.end
        return True

    def _set_aside(self, segment: Reading, at: int, data: bytes, taken: Taken) -> None:
        if (segment.number, at) in self._judged or self._aside.full:
            return
        self._judged.add((segment.number, at))
        where = self._aside.keep(data, "inbox")
        taken.damage.append(f"{segment.path}: {len(data)} damaged bytes at {at} were passed over, {where}")
        if self._aside.full:
            taken.damage.append(f"{self._directory}: further damage is passed over without being kept or reported")

    def _publish(self) -> None:
        if self._board is None or not self._segments:
            return
        newest = self._segments[-1]
        reading = next((segment for segment in self._segments if segment.number >= self._reading), newest)
        self._board.set_newest(newest.number)
        self._board.set_position(reading.number, reading.offset)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise explain(error, self._inbox, "take the inbox in") from error
