"""The pipes of a subprocess: its input goes in while its output comes out, so neither blocks the other.

Output is kept within a bound: the first half and the last, and a line that says what was cut. Used by one thread, the
one that waits for the subprocess.
"""

from __future__ import annotations

import os
import selectors
import subprocess
from contextlib import suppress
from typing import IO, Any

_CHUNK = 1 << 16


class Capture:
    """Takes any amount of output and holds at most about one and a half times ``limit`` bytes of it."""

    def __init__(self, limit: int) -> None:
        self._first = limit // 2
        self._last = limit - self._first
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0

    def add(self, data: bytes) -> None:
        """More output."""
        room = self._first - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data
        if len(self._tail) > 2 * self._last:
            self._cut()

    def value(self) -> bytes:
        """What there is, with a line in the middle that says how many bytes are missing there."""
        self._cut()
        middle = b"\n[... %d bytes cut ...]\n" % self._dropped if self._dropped else b""
        return bytes(self._head) + middle + bytes(self._tail)

    def _cut(self) -> None:
        over = len(self._tail) - self._last
        if over > 0:
            del self._tail[:over]
            self._dropped += over


class Pipes:
    """Moves bytes to and from a subprocess, as far as its streams are pipes, and waits for its end."""

    def __init__(self, child: subprocess.Popen[bytes], pidfd: int, given: bytes, limit: int) -> None:
        self._selector = selectors.PollSelector()
        self._pidfd = pidfd
        self._input = memoryview(given)
        self._child = child
        for stream in _streams(child):
            os.set_blocking(stream.fileno(), False)
        #: What came from each; None where it is no pipe.
        self.stdout = Capture(limit) if child.stdout is not None else None
        self.stderr = Capture(limit) if child.stderr is not None else None
        for source, capture in ((child.stdout, self.stdout), (child.stderr, self.stderr)):
            if source is not None:
                self._selector.register(source, selectors.EVENT_READ, capture)
        if child.stdin is not None:
            self._selector.register(child.stdin, selectors.EVENT_WRITE)
        self._selector.register(pidfd, selectors.EVENT_READ)

    def move(self, seconds: float | None) -> None:
        """Move what can be moved, or wait at most so long until something can or the subprocess ends."""
        for key, _ in self._selector.select(seconds):
            if key.events == selectors.EVENT_WRITE:
                self._write(key.fileobj)
            elif key.data is not None:
                self._read(key.fileobj, key.data)

    def forget_end(self) -> None:
        """The subprocess has ended: :meth:`move` waits for what others write into its pipes."""
        with suppress(KeyError):
            self._selector.unregister(self._pidfd)

    def drain(self) -> None:
        """Take what is left in the pipes, once nobody writes any more."""
        for key in tuple(self._selector.get_map().values()):
            if key.data is not None:
                while self._read(key.fileobj, key.data):
                    pass

    def close(self) -> None:
        """Close our ends."""
        self._selector.close()
        close_streams(self._child)

    def _read(self, stream: Any, capture: Capture) -> bool:
        try:
            data = os.read(stream.fileno(), _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self._selector.unregister(stream)
            return False
        capture.add(data)
        return True

    def _write(self, stream: Any) -> None:
        try:
            self._input = self._input[os.write(stream.fileno(), self._input[:_CHUNK]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:  # it reads no more, which is its right
            self._input = self._input[:0]
        if not self._input:
            self._selector.unregister(stream)
            stream.close()


def close_streams(child: subprocess.Popen[bytes]) -> None:
    """Close our ends of its pipes."""
    for stream in _streams(child):
        stream.close()


def _streams(child: subprocess.Popen[bytes]) -> list[IO[bytes]]:
    return [stream for stream in (child.stdin, child.stdout, child.stderr) if stream is not None]
