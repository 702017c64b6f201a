"""The inbox, as a producer sees it: a push is one ``write`` to the newest segment. Carries promises P1, P3 and P10.

Runs in any process and any thread, and opens nothing before the first push. When :meth:`Inbox.append` has returned,
the records survive the death of every process; when it raised, none of them is ever taken in (unless it was the
``fsync`` that failed).

A push holds a shared ``flock`` on its segment while it writes, so the owner knows that nobody writes when it gets the
exclusive one. Under the lock a segment without bytes or name is sealed, and the push goes to the newest one. Producers
never wait for each other; they wait a moment for the owner, and when it was stopped at the wrong place, they go on in
the next segment.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN, flock
from pathlib import Path
from typing import Final

from django_graceful.exceptions import StoreFull
from django_graceful.stores.leveldb import board, segments
from django_graceful.stores.leveldb.files import explain
from django_graceful.stores.leveldb.frames import encode, encode_many
from django_graceful.stores.leveldb.room import Room
from django_graceful.stores.leveldb.wake import WakeSender

#: Seconds to wait for a segment whose exclusive lock somebody holds, before going on in the next one.
PATIENCE: Final = 0.25

#: Those that may have files open or a lock held; kept alive until they are closed, so that a fork can close its copies.
_in_use: set[Inbox] = set()


class Inbox:
    """The way into the store at ``directory``. Safe for threads, for forks, and for a signal handler that pushes."""

    def __init__(self, directory: Path, mode: int = 0o600, *, fsync: bool = False) -> None:
        self._directory, self._mode, self._fsync = directory, mode, fsync
        self._board = board.BoardReader(directory / board.NAME)
        self._room = Room(directory, self._board)
        self._wake = WakeSender(directory)
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.RLock()
        self._busy = False
        self._fd, self._number, self._newest, self._hint = -1, 0, 0, 0

    def append(self, queue: str, records: Sequence[bytes], limit: int = 0) -> None:
        """Hand over records of one queue, all or none. With ``fsync`` they are on the disk when this returns.

        Raises :class:`~django_graceful.exceptions.QueueFull` when more than ``limit`` (0: no limit) would wait,
        :class:`~django_graceful.exceptions.StoreFull` when there is no space,
        :class:`~django_graceful.exceptions.PayloadTooLarge` above 64 MiB in one push, and
        :class:`~django_graceful.exceptions.StoreUnavailable` for everything else that files can say.
        """
        if not records:
            return
        data = encode(queue, records[0]) if len(records) == 1 else encode_many(queue, records)
        _in_use.add(self)
        with self._lock:
            if self._busy:
                # a signal handler that pushes has interrupted this very thread in here: leave its half-done step alone
                self._append_aside(queue, records, limit)
                return
            self._busy = True
            try:
                self._write(data, queue, len(records), limit)
                head = self._board.look()
                self._newest = head.newest
                if head.sleeping:
                    self._wake.send()
            except OSError as error:
                self._let_go()
                raise explain(error, self._directory, "push") from error
            finally:
                self._busy = False

    def close(self) -> None:
        """Let go of all files. The next :meth:`append` opens them again."""
        with self._lock:
            self._let_go()
            _in_use.discard(self)

    def _append_aside(self, queue: str, records: Sequence[bytes], limit: int) -> None:
        other = Inbox(self._directory, self._mode, fsync=self._fsync)
        try:
            other.append(queue, records, limit)
        finally:
            other.close()

    def _write(self, data: bytes, queue: str, count: int, limit: int) -> None:
        self._follow_owner()
        above = 0
        while True:
            fd, number = self._open(above)
            try:
                free = _lock_shared(fd)
                status = os.fstat(fd)
                if free and status.st_nlink and status.st_size:
                    if limit:
                        self._room.check(queue, count, limit, number, status.st_size)
                    _write_whole(fd, data, self._directory)
                    break
            finally:
                flock(fd, LOCK_UN)
            self._let_go()
            above = 0 if free else number
        if self._fsync:
            os.fdatasync(fd)

    def _follow_owner(self) -> None:
        """Leave a segment that the owner wants to seal. Only a hint: the segments that are there decide."""
        if self._newest > self._number and self._newest != self._hint and self._fd >= 0:
            self._let_go()
            self._hint = self._newest

    def _open(self, above: int) -> tuple[int, int]:
        if self._fd < 0:
            self._number, self._fd = segments.open_newest(self._directory, self._mode, fsync=self._fsync, above=above)
        return self._fd, self._number

    def _let_go(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._number = -1, 0
        # the whole directory may have been replaced
        self._room.forget()
        self._board.close()
        self._wake.close()

    def _after_fork(self) -> None:
        # the child's descriptors share the parent's locks: closed, not unlocked
        self._let_go()
        self._reset()


def _lock_shared(fd: int) -> bool:
    """Take the shared lock; False when somebody has held the exclusive one for ``PATIENCE`` seconds."""
    pause, deadline = 0.0001, 0.0
    while True:
        try:
            flock(fd, LOCK_SH | LOCK_NB)
        except BlockingIOError:
            deadline = deadline or time.monotonic() + PATIENCE
            if time.monotonic() >= deadline:
                return False
            time.sleep(pause)
            pause = min(2 * pause, 0.01)
        else:
            return True


def _write_whole(fd: int, data: bytes, directory: Path) -> None:
    written = os.write(fd, data)
    if written == len(data):
        return
    end = os.lseek(fd, 0, os.SEEK_CUR)
    try:
        flock(fd, LOCK_EX | LOCK_NB)
        # nothing stands behind it and nobody writes; a part that stays is passed over by its checksum
        if os.fstat(fd).st_size == end:
            os.ftruncate(fd, end - written)
    except BlockingIOError:
        pass
    raise StoreFull(
        f"{directory}: no room to push: {written} of {len(data)} bytes fitted. Free space on this disk, or raise the"
        " quota or the limit of file sizes (ulimit -f)."
    )


def _forget_after_fork() -> None:
    for inbox in list(_in_use):
        inbox._after_fork()
    _in_use.clear()


os.register_at_fork(after_in_child=_forget_after_fork)
