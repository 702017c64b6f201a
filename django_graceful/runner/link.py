"""The worker's end of the wire: units come in, tokens allow them, results go out. Runs in the worker's main thread.

A unit may begin only after its token was read. The master reads tokens too, to take units back; the kernel gives each
token to one of the two, so no unit is ever both begun and taken back.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from django_graceful.runner.slate import Slate, Word
from django_graceful.runner.wire import (
    Done,
    Ended,
    Kind,
    News,
    Report,
    Splitter,
    Unit,
    decode_news,
    decode_work,
    encode_done,
    encode_ended,
    encode_report,
    frame,
)

#: Plain successes are told to the master after that many nanoseconds at the latest, while work goes on.
TELL_AFTER = 4_000_000


class Link:
    """What a worker has of its master."""

    def __init__(self, sock: socket.socket, tokens: int, slate: Slate) -> None:
        self._sock = sock
        #: The token pipe; readable when a unit may begin.
        self.tokens = tokens
        self._words = slate.words
        self._units: deque[Unit] = deque()
        self._splitter = Splitter()
        self._acks = 0
        self._done = 0
        self._count = 0
        self._busy = 0
        self._told = 0
        self._ended: list[int] = []
        self._ended_took: list[int] = []
        #: News that nobody has taken yet.
        self.news: deque[News] = deque()
        self.retired = False

    def ready(self) -> None:
        """Say that units may come."""
        self._sock.sendall(frame(Kind.READY))

    def next(self, tell: Callable[[News], None]) -> Unit | None:
        """The next unit, its token taken; None when the worker shall end. Blocks while there is none.

        News that came are handed to ``tell`` first.
        """
        while True:
            while self.news:
                tell(self.news.popleft())
            try:
                token = os.read(self.tokens, 1)
            except BlockingIOError:
                self.tell()
                if not self._wait():
                    return None
                continue
            if not token:
                return None
            return self._unit(token[0])

    def done(self, unit: Unit, began: int) -> None:
        """The unit was plain success: on the slate at once, to the master soon."""
        self._words[Word.FINISHED] = unit.last
        now = time.monotonic_ns()
        took = now - began
        if took > TELL_AFTER:  # told alone, and at once, so that the master knows how long it took
            self.tell()
            self._told = 0
        self._done = unit.last
        self._count += len(unit.leases)
        self._busy += took
        if now - self._told > TELL_AFTER:
            self.tell()

    def tell(self) -> None:
        """Tell the master what is done so far."""
        if self._count:
            self._sock.sendall(encode_done(Done(self._done, self._count, self._busy)))
            self._count = self._busy = 0
        if self._ended:
            self._sock.sendall(encode_ended(Ended(tuple(self._ended), tuple(self._ended_took))))
            self._ended, self._ended_took = [], []
        self._told = time.monotonic_ns()

    def report(self, unit: Unit, report: Report) -> None:
        """Hand over how the unit ended, and wait until it is written down: only then it is finished on the slate."""
        self.tell()
        self._sock.sendall(encode_report(report))
        while not self._acks:
            self._receive()
            if self.retired and not self._acks:
                return
        self._acks -= 1
        self._words[Word.FINISHED] = unit.last

    # -- several units at once, without waiting ---------------------------------------------------------------------

    def fileno(self) -> int:
        """The socket; readable when the master has said something."""
        return self._sock.fileno()

    @property
    def untold(self) -> bool:
        """Whether plain successes are not told yet."""
        return bool(self._ended)

    def hear(self) -> int:
        """Take in what the master has said by now; how many reports are written down, the oldest ones."""
        with suppress(BlockingIOError):
            while not self.retired:
                self._receive(socket.MSG_DONTWAIT)
        acks, self._acks = self._acks, 0
        return acks

    def take(self) -> Unit | None:
        """The next unit, its token taken; None when there is none now."""
        try:
            token = os.read(self.tokens, 1)
        except BlockingIOError:
            return None
        return self._unit(token[0]) if token else None

    def ended(self, unit: Unit, busy: int) -> None:
        """The unit was plain success in so many nanoseconds, as its seat on the slate says: to the master soon."""
        self._ended.append(unit.last)
        self._ended_took.append(busy)
        if time.monotonic_ns() - self._told > TELL_AFTER:
            self.tell()

    def submit(self, report: Report) -> None:
        """Hand over how a unit ended; :meth:`hear` tells when it is written down."""
        self.tell()
        self._sock.sendall(encode_report(report))

    # -- the socket -----------------------------------------------------------------------------------------------

    def _wait(self) -> bool:
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        poll.register(self.tokens, select.POLLIN)
        for fd, _event in poll.poll():
            if fd == self._sock.fileno():
                self._receive()
        return not self.retired

    def _unit(self, epoch: int) -> Unit | None:
        """The first unit of that epoch; those of an older one were taken back."""
        while True:
            while self._units:
                unit = self._units.popleft()
                if unit.epoch == epoch:
                    return unit
            self._receive()
            if self.retired and not self._units:
                return None

    def _receive(self, flags: int = 0) -> None:
        data = self._sock.recv(1 << 18, flags)
        if not data:
            self.retired = True
            return
        for kind, body in self._splitter.feed(data):
            if kind == Kind.WORK:
                self._units.extend(decode_work(body))
            elif kind == Kind.ACK:
                self._acks += 1
            elif kind == Kind.NEWS:
                self.news.append(decode_news(body))
            elif kind == Kind.RETIRE:
                self.retired = True
