"""The slate: a mapped page or two per worker on which it keeps what it started and finished.

Each word is written in one machine store, costs no system call, and outlives the SIGKILL of every process, because
the page belongs to the file. So the owner of a store knows afterwards, exactly, which items were done, which one ran,
and which were never begun (promises P2 and P8). The master writes two words too: the execution that is to stop, and
why.

A worker holds an exclusive ``flock`` on its slate while it lives. Whoever opens the store after a crash waits for
that lock before it believes the slate: a worker that outlives its master by a moment is never overtaken by its own
item.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import signal
import time
from contextlib import suppress
from enum import IntEnum
from pathlib import Path

from django_graceful.exceptions import StoreUnavailable
from django_graceful.options import MOST_THREADS as MOST_SEATS
from django_graceful.stores.base import Progress
from django_graceful.stores.leveldb.files import explain

_PAGE = 4096
_SIZE = 2 * _PAGE
#: How long a worker of a dead master may take to go by itself, and after SIGKILL, in seconds.
_PATIENCE = 1.0
_LONGEST = 10.0


class Why(IntEnum):
    """Why an execution is to stop, as written on the slate."""

    CANCEL = 1
    TIMEOUT = 2
    SHUTDOWN = 3


class Word(IntEnum):
    """The words of the page."""

    STARTED = 0
    FINISHED = 1
    #: When the started execution began, monotonic nanoseconds.
    SINCE = 2
    #: The execution that is to stop, and why (written by the master; WHY before WISH).
    WISH = 3
    WHY = 4
    PID = 5
    #: Not 0 while the node drains; monotonic nanoseconds of the hammer.
    HAMMER_AT = 6
    #: The first execution of the batch that runs (0: no batch), and which of its items are handled, a bit each.
    BATCH = 7
    #: How many seats and how many places for wishes have been used since the worker began: none beyond is looked at.
    SEATS = 8
    WISHES = 9
    HANDLED = 16
    #: Of a worker that runs several units at once: an execution and its beginning for each seat, on a page of their
    #: own; and behind them an execution that is to stop and why, for each wish (written by the master).
    SEAT = _PAGE // 8
    ASKED = SEAT + 2 * MOST_SEATS


#: The items of a batch for which there is a bit; those beyond are not marked.
_MARKS = (_PAGE // 8 - Word.HANDLED) * 64
#: More than seats, so that there is always a place whose execution has ended.
_MOST_WISHES = 128


class Slate:
    """One page, mapped. The master makes it, the worker opens it."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self.path = path
        flags = os.O_RDWR | (os.O_CREAT | os.O_EXCL if create else 0)
        self._fd = os.open(path, flags, 0o600)
        try:
            if create:
                os.posix_fallocate(self._fd, 0, _SIZE)  # a hole on a full disk would be a SIGBUS later
            self._map = mmap.mmap(self._fd, _SIZE)
        except BaseException:
            os.close(self._fd)
            if create:
                path.unlink()
            raise
        #: The words, by :class:`Word`.
        self.words = memoryview(self._map).cast("Q")

    def lock(self) -> None:
        """Say "I live": held until this process, and whatever it forked, is gone."""
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        self.words[Word.PID] = os.getpid()

    def free(self) -> bool:
        """Whether no worker lives that has this slate."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def open_batch(self, first: int, size: int) -> None:
        """A batch of ``size`` executions from ``first`` on runs; nothing of it is handled yet."""
        words = self.words
        words[Word.BATCH] = 0
        for at in range(Word.HANDLED, Word.HANDLED + -(-min(size, _MARKS) // 64)):
            words[at] = 0
        words[Word.BATCH] = first

    def mark(self, execution: int) -> None:
        """This execution of the open batch is handled."""
        at = execution - self.words[Word.BATCH]
        if 0 <= at < _MARKS:
            self.words[Word.HANDLED + at // 64] |= 1 << at % 64

    def handled(self) -> frozenset[int]:
        """The executions of the open batch that are handled."""
        words, first = self.words, self.words[Word.BATCH]
        if not first:
            return frozenset()
        bits = (words[Word.HANDLED + at // 64] >> at % 64 & 1 for at in range(_MARKS))
        last = self.words[Word.STARTED]
        return frozenset(first + at for at, bit in enumerate(bits) if bit and first + at <= last)

    def sit(self, seat: int, execution: int) -> int:
        """This execution runs in that seat from now on; when it began, in monotonic nanoseconds.

        What is begun up to ``FINISHED`` and has no seat has ended: hence this order of the words.
        """
        words, at, since = self.words, Word.SEAT + 2 * seat, time.monotonic_ns()
        if seat >= words[Word.SEATS]:
            words[at] = 0
            words[Word.SEATS] = seat + 1
        words[at + 1] = since
        words[at] = execution
        words[Word.STARTED] = execution
        words[Word.FINISHED] = execution
        return since

    def rise(self, seat: int) -> None:
        """What runs in that seat has ended, and needs no report."""
        self.words[Word.SEAT + 2 * seat] = 0

    def seats(self) -> dict[int, int]:
        """The executions that have a seat, and when they began."""
        words = self.words
        places = range(Word.SEAT, Word.SEAT + 2 * min(words[Word.SEATS], MOST_SEATS), 2)
        return {execution: words[at + 1] for at in places if (execution := words[at])}

    def ask(self, execution: int, why: Why) -> None:
        """Wish that this execution, which has a seat or gets one in a moment, stops."""
        words = self.words
        newest = words[Word.STARTED]  # read before the seats: who has none and is not newer has ended
        seated = self.seats()
        places = range(Word.ASKED, Word.ASKED + 2 * _MOST_WISHES, 2)
        at = next(at for at in places if words[at] <= newest and words[at] not in seated)
        words[at + 1] = why
        words[at] = execution
        words[Word.WISHES] = max(words[Word.WISHES], (at - Word.ASKED) // 2 + 1)

    def asked(self, execution: int) -> Why | None:
        """Why this execution is to stop, as :meth:`ask` left it; None when nobody asked."""
        words = self.words
        for at in range(Word.ASKED, Word.ASKED + 2 * min(words[Word.WISHES], _MOST_WISHES), 2):
            if words[at] == execution:
                return Why(words[at + 1])
        return None

    def progress(self) -> Progress:
        """How far the worker came."""
        words = self.words
        return Progress(words[Word.STARTED], words[Word.FINISHED], self.handled(), frozenset(self.seats()))

    def close(self) -> None:
        """Unmap; the file stays."""
        self.words.release()
        self._map.close()
        os.close(self._fd)


class SlateDirectory:
    """The slates of one store's workers."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def create(self, name: str) -> Slate:
        """A fresh slate for the worker ``name``.

        Raises :class:`~django_graceful.exceptions.StoreUnavailable` when there is no room or no permission.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            return Slate(self.path / name, create=True)
        except FileExistsError:
            raise
        except OSError as error:
            raise explain(error, self.path, "make a worker's slate") from error

    def witness(self, owner: str) -> Progress | None:
        """How far the worker ``owner`` of a former runner came; waits until it is gone, and ends it if need be."""
        if "/" in owner:
            return None
        try:
            slate = Slate(self.path / owner)
        except (OSError, ValueError):
            return None
        try:
            _wait_until_free(slate)
            return slate.progress()
        finally:
            slate.close()

    def witnesses(self) -> dict[str, Progress]:
        """How far each worker of a former runner came, by its name; as :meth:`witness`."""
        names = [file.name for file in self.path.iterdir()] if self.path.is_dir() else []
        return {name: progress for name in names if (progress := self.witness(name)) is not None}

    def forget(self, name: str) -> None:
        """Remove one slate."""
        with suppress(FileNotFoundError):
            (self.path / name).unlink()

    def clear(self) -> None:
        """Remove the slates of a former runner, once their leases are settled."""
        if self.path.is_dir():
            for file in self.path.iterdir():
                file.unlink(missing_ok=True)


def _wait_until_free(slate: Slate) -> None:
    begin = time.monotonic()
    pause = 0.001
    while not slate.free():
        waited = time.monotonic() - begin
        if waited > _LONGEST:
            raise StoreUnavailable(
                f"the worker with pid {slate.words[Word.PID]} of a former runner does not end ({slate.path})"
            )
        if waited > _PATIENCE:
            # The lock is held, so a process of that worker lives; nobody else's pid is hit.
            _kill_group(slate.words[Word.PID])
        time.sleep(pause)
        pause = min(0.05, pause * 2)


def _kill_group(pid: int) -> None:
    if pid > 1:  # 0 would be our own group: the worker has not written its pid yet
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
