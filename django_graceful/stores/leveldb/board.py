"""The board: a small file in which the owner shows producers what they need to know without asking.

Whether the owner sleeps, up to where it has taken the inbox in, which segment takes pushes, and how many items of each
queue wait. It stays when the owner is gone, and is as true as the owner's last step: a SIGKILL costs at most a
useless wake-up. Numbers are 8 aligned bytes, each written by one store.

Both sides use ``pread`` and ``pwrite``, not a mapping: a mapped file that somebody truncates, or that finds the disk
full when a page is written, kills the process that touches it with SIGBUS, and no web process shall die of this
(promise P10). A board that can not be written is only out of date.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Final

from django_graceful.stores.leveldb.board_file import (
    CAPACITY,
    DEPTHS,
    HEAD,
    LENGTH,
    NAME_MAX,
    NO_HEAD,
    OFFSETS,
    POSITION,
    SLOT,
    WORD,
    Head,
    Position,
    make_board,
    name_at,
    parse_head,
    place,
    read_head,
    read_slots,
)

#: The file in the directory of the store.
NAME: Final = "board"

logger = logging.getLogger("django_graceful.stores.leveldb.board")


class Board:
    """The owner's side. One thread uses it. Nothing but :meth:`create` raises: a failed write is logged once."""

    def __init__(self, path: Path, fd: int, mode: int) -> None:
        self._path, self._fd, self._mode = path, fd, mode
        self._slots = dict(read_slots(fd, read_head(fd)))
        self._written: dict[int, int] = {}
        self._complained = False
        self.sleeping = False

    @classmethod
    def create(cls, path: Path, mode: int = 0o600) -> Board:
        """The board at ``path``: the one that is there with what it shows, or a fresh one when it is missing, damaged
        or not ours. Raises ``OSError`` when none can be made."""
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return cls(path, make_board(path, mode, NO_HEAD._replace(capacity=CAPACITY)), mode)
        head = read_head(fd)
        if head is NO_HEAD or head.replaced:
            os.close(fd)
            fd = make_board(path, mode, NO_HEAD._replace(capacity=CAPACITY))
        return cls(path, fd, mode)

    @property
    def sleeping(self) -> bool:
        """Whether producers are to send a wake-up after a push."""
        return bool(self._written.get(OFFSETS["sleeping"]))

    @sleeping.setter
    def sleeping(self, value: bool) -> None:
        self._put(OFFSETS["sleeping"], int(value))

    def set_depth(self, queue: str, waiting: int) -> None:
        """Show how many items of ``queue`` wait."""
        slot = self._slots.get(queue)
        if slot is None:
            slot = self._add(queue)
        if slot is not None:
            self._put(DEPTHS + 8 * slot, max(0, waiting))

    def set_position(self, segment: int, offset: int) -> None:
        """Show that every older segment, and this one up to ``offset``, has been taken in."""
        self._put(OFFSETS["opened"], segment)
        self._put(OFFSETS["offset"], offset)
        self._put(OFFSETS["closed"], segment)

    def set_newest(self, segment: int) -> None:
        """Show which segment takes pushes from now on."""
        self._put(OFFSETS["newest"], segment)

    def close(self) -> None:
        """Let go of the file. What it shows stays."""
        if self._fd >= 0:
            self.sleeping = False
            os.close(self._fd)
            self._fd = -1

    def _put(self, at: int, value: int) -> None:
        if self._written.get(at) != value and self._write(WORD.pack(value), at):
            self._written[at] = value

    def _write(self, data: bytes, at: int) -> bool:
        try:
            return os.pwrite(self._fd, data, at) == len(data)
        except OSError as error:
            return self._complain(error)

    def _complain(self, error: OSError) -> bool:
        if not self._complained:
            self._complained = True
            logger.warning("%s: %s; producers see old numbers and may not wake the runner", self._path, error)
        return False

    def _add(self, queue: str) -> int | None:
        name, slot, head = queue.encode(), len(self._slots), read_head(self._fd)
        if len(name) > NAME_MAX or head is NO_HEAD:
            return None
        if slot >= head.capacity:
            if not self._grow(head.capacity * 2):
                return None
            head = read_head(self._fd)
        entry = LENGTH.pack(len(name)) + name
        # the number of slots is raised last: whoever sees it finds the name
        if not (self._write(entry, name_at(head, slot)) and self._write(WORD.pack(slot + 1), OFFSETS["used"])):
            return None
        self._slots[queue] = slot
        return slot

    def _grow(self, capacity: int) -> bool:
        """Put a larger file in place, with all that this one shows, and mark this one as replaced."""
        old, head = self._fd, read_head(self._fd)
        depths = os.pread(old, 8 * head.capacity, DEPTHS)
        names = os.pread(old, SLOT * head.capacity, name_at(head, 0))
        try:
            self._fd = make_board(self._path, self._mode, head._replace(capacity=capacity), depths, names)
        except OSError as error:
            return self._complain(error)
        os.pwrite(old, WORD.pack(1), OFFSETS["replaced"])
        os.close(old)
        return True


class BoardReader:
    """The producers' side: opens the board when it is first asked, and again when it was replaced.

    A board that is missing, unreadable, damaged or not ours shows nothing. Not for several threads at once.
    """

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._fd = -1
        self._slots: dict[str, int] = {}
        self._known = 0
        #: the head as it was last read and what it said: it seldom changes from push to push
        self._seen = (b"", NO_HEAD)

    def look(self) -> Head:
        """All words of the head as they are now, in one read; ``NO_HEAD`` when there is no board."""
        if self._fd >= 0:
            data = os.pread(self._fd, HEAD.size, 0)
            if data == self._seen[0]:
                return self._seen[1]
            head = parse_head(data)
            if head is not NO_HEAD and not head.replaced:
                self._seen = (data, head)
                return head
            self.close()
        # asked first, because an exception with every push while no runner has ever run is slow
        if not os.access(self._path, os.F_OK):
            return NO_HEAD
        try:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return NO_HEAD
        head = read_head(self._fd)
        if head is NO_HEAD:
            self.close()
        return head

    @property
    def sleeping(self) -> bool:
        """Whether the owner wants to be woken."""
        return bool(self.look().sleeping)

    @property
    def position(self) -> Position:
        """Up to where the owner has taken the inbox in; all zero when none ever did."""
        # one read is no snapshot of three words, two equal ones are
        then = self.look()
        for _ in range(20):
            before, then = then, self.look()
            if before[POSITION] == then[POSITION]:
                break
        return place(then)

    def depth(self, queue: str, head: Head | None = None) -> int:
        """How many items of ``queue`` wait in the store; 0 for a queue that the owner has not met.

        ``head`` saves a look when the caller has just taken one.
        """
        if head is None:
            head = self.look()
        if head.used != self._known:
            self._slots, self._known = dict(read_slots(self._fd, head)), head.used
        slot = self._slots.get(queue)
        if slot is None:
            return 0
        data = os.pread(self._fd, 8, DEPTHS + 8 * slot)
        return int.from_bytes(data, "little") if len(data) == 8 else 0

    def close(self) -> None:
        """Let go of the file; the next question opens it again."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._slots, self._known, self._seen = -1, {}, 0, (b"", NO_HEAD)
