"""One segment of the inbox as the owner reads it: windows of it, its torn end, its removal. Never waits for a lock."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fcntl import LOCK_EX, LOCK_NB, LOCK_UN, flock
from hashlib import sha256
from pathlib import Path
from typing import Final

from django_graceful.stores.leveldb import segments
from django_graceful.stores.leveldb.frames import MAX_FRAME, Scan, encode_note, scan

logger = logging.getLogger("django_graceful.stores.leveldb.reading")

_CHUNK: Final = 1 << 20
#: A window of this size with nothing good in it: whatever starts in its first half is no frame.
_WINDOW: Final = 2 * MAX_FRAME


@dataclass(slots=True, eq=False)
class Reading:
    """A segment that the owner has open. Its methods raise ``OSError``."""

    number: int
    path: Path
    fd: int
    id: bytes
    #: Pushes may go to it: it was made since the machine was started.
    fresh: bool
    #: Taken in and stored up to here.
    offset: int = 0
    #: Read up to here.
    reached: int = 0
    #: The size at which nothing more could be read: its end is unfinished.
    stuck: int = 0

    @classmethod
    def open(cls, inbox: Path, number: int) -> Reading:
        """Open segment ``number`` at its beginning. Raises ``FileNotFoundError`` when it is gone."""
        fd, path = segments.open_segment(inbox, number), segments.segment_path(inbox, number)
        header = segments.read_header(fd)
        if header is not None:
            return cls(number, path, fd, header.id, header.boot == segments.boot_id())
        # a damaged header has no id: one that this file keeps as long as it is there
        name = f"{number}-{os.fstat(fd).st_ino}".encode()
        return cls(number, path, fd, sha256(name).digest()[:16], fresh=False)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self.fd)

    def size(self) -> int:
        """Its bytes at this moment."""
        return os.fstat(self.fd).st_size

    def window(self, at: int, end: int, limit: int) -> tuple[bytes, Scan]:
        """The bytes from ``at`` on and what is in them: as many as it takes to find something, or all up to ``end``."""
        size = min(_CHUNK, 4096 + 512 * limit)
        while True:
            data = os.pread(self.fd, min(size, end - at), at)
            found = scan(data, limit)
            if found.end or len(data) < size:
                return data, found
            if size == _WINDOW:
                found.end = size - MAX_FRAME
                found.damage.append((0, found.end))
                return data, found
            size = min(4 * size, _WINDOW)

    def judge(self, at: int, end: int) -> bool:
        """Mark the unfinished end, from ``at`` on, as torn if nobody writes. True: something changed, read again."""
        self.stuck = end
        with self._alone() as alone:
            if not alone:
                return False
            try:
                if self.size() == end and not self.window(at, end, 1)[1].end:
                    os.write(self.fd, encode_note())
            except OSError as error:
                logger.warning("%s: the torn end can not be marked yet: %s", self.path, error)
                return False
        self.stuck = 0
        return True

    def seal(self) -> bool:
        """Remove the segment, unless somebody writes to it or has done so just now. True: it is gone."""
        with self._alone() as alone:
            if not alone or self.size() > self.offset:
                return False
            # the size tells producers that have it open: a leftover hard link would hide that its name is gone
            os.ftruncate(self.fd, 0)
            self.path.unlink(missing_ok=True)
        return True

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Hold the exclusive lock, if nobody writes just now."""
        try:
            flock(self.fd, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            yield False
            return
        try:
            yield True
        finally:
            flock(self.fd, LOCK_UN)
