"""A worker as the master sees it: what it was given, what it has begun, and how it ends. Runs in the master's loop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from enum import Enum

from django_graceful import descendants, stacks
from django_graceful.queues import get_queue
from django_graceful.runner.hands import Hands, Run
from django_graceful.runner.moments import SIGNAL as MOMENT
from django_graceful.runner.nursery import Nursery
from django_graceful.runner.slate import Slate, SlateDirectory, Why, Word
from django_graceful.runner.stopping import SIGNAL
from django_graceful.runner.wire import (
    Done,
    Ended,
    Kind,
    News,
    Report,
    Splitter,
    WireError,
    decode_from_worker,
    encode_news,
    frame,
)
from django_graceful.stores.base import Lease, Progress


class Stage(Enum):
    """The life of a worker."""

    STARTING = "starting"
    READY = "ready"
    #: Gets nothing more; ends when its hands are empty.
    RETIRING = "retiring"
    GONE = "gone"


class Handle:
    """One worker process."""

    def __init__(self, name: str, slates: SlateDirectory, nursery: Nursery, changed: Callable[[Handle], None]) -> None:
        self.name = name
        self.pid = 0
        self.stage = Stage.STARTING
        #: It has said that it is ready, once.
        self.came_up = False
        #: What it has said and nobody has taken yet.
        self.done: list[Done | Ended] = []
        self.reports: list[Report] = []
        #: Executions that were stopped: why, and when (monotonic seconds).
        self.stops: dict[int, tuple[Why, float]] = {}
        self.exit_status: int | None = None
        self.jobs = 0
        #: When it was told to die, by SIGKILL (seconds since the epoch).
        self.killed_at: float | None = None
        self._changed = changed
        self._slates = slates
        self._nursery = nursery
        self._slate: Slate = slates.create(name)
        self.hands = Hands(self._slate)
        #: Units given and not ended, in order; the worker begins them in this order.
        self.units = self.hands.units
        self._told_to_retire = False
        self._signalled_at = 0.0
        self._pidfd = -1
        self._splitter = Splitter()
        self._outbox = bytearray()
        self._loop = asyncio.get_running_loop()
        self._open(nursery)

    def _open(self, nursery: Nursery) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._sock = ours
        with theirs:
            nursery.spawn(self.name, self._slate.path, [theirs.fileno(), self.hands.tokens], self)
        self._loop.add_reader(ours, self._readable)

    # -- what the nursery says ------------------------------------------------------------------------------------

    def spawned(self, pid: int, pidfd: int) -> None:
        """The process exists."""
        self.pid, self._pidfd = pid, pidfd
        self._get_ready()

    def exited(self, status: int) -> None:
        """The process is gone, or about to die with the fork server: be sure of it, read its last words, say so."""
        if self._pidfd >= 0:
            descendants.finish_off(self._pidfd)
        self._read()
        self.exit_status = status
        self.stage = Stage.GONE
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._changed(self)

    # -- giving and taking back -----------------------------------------------------------------------------------

    @property
    def queue(self) -> str | None:
        """The queue whose items it holds."""
        return self.units[0].queue if self.units else None

    def runs(self) -> list[Run]:
        """What it has begun and not ended, oldest first: one unit at most, unless its queue has ``threads``."""
        return self.hands.runs()

    def give(self, queue: str, leases: Sequence[Lease], *, batch: bool, timeout: float | None) -> None:
        """Hand these over: one batch, or as many units as there are leases. ``timeout`` is the queue's."""
        self.hands.give(queue, leases, self._send, batch=batch, timeout=timeout)

    def tell(self, news: News) -> None:
        """Let its receivers of ``signals.dead`` know."""
        self._send(encode_news(news))

    def take_back(self) -> list[Lease]:
        """Take back every unit that the worker has not begun; their leases, in order."""
        return self.hands.take_back()

    def acknowledge(self) -> None:
        """The oldest report that it waits for is written down; it may go on."""
        self._send(frame(Kind.ACK))

    def settle(self, said: Done | Ended) -> list[Lease]:
        """These have ended, as the worker says; the leases that this settles."""
        return self._forget_stops(self.hands.settle(said))

    def settle_these(self, executions: Collection[int]) -> list[Lease]:
        """The units with these last executions have ended; the leases that this settles."""
        return self._forget_stops(self.hands.settle_these(executions))

    def _forget_stops(self, settled: list[Lease]) -> list[Lease]:
        if self.stops:
            for lease in settled:
                self.stops.pop(lease.execution, None)
        return settled

    def holds(self, execution: int) -> bool:
        """Whether it was given that execution and has not ended it."""
        return any(unit.has(execution) for unit in self.units)

    # -- stopping -------------------------------------------------------------------------------------------------

    def stop(self, why: Why, execution: int | None = None) -> bool:
        """Ask what runs to stop, or only the run of ``execution``; False when it does not run, or was asked before.

        A worker of several units at once is given nothing more then: what is interrupted may leave it unsound.
        """
        runs = [run for run in self.runs() if run.unit.last not in self.stops and run.unit.has(execution)]
        if not runs or self._pidfd < 0:
            return False
        words = self._slate.words
        for unit, _ in runs:
            self.stops[unit.last] = (why, time.monotonic())
            if get_queue(unit.queue).options.threads > 1:
                self._slate.ask(unit.last, why)
                self.retire()
            else:
                words[Word.WHY] = why
                words[Word.WISH] = unit.last
        self._signal(SIGNAL)
        return True

    def remind(self, pause: float) -> None:
        """Signal again, ``pause`` seconds after the last time: one that came just before a call that blocks is noted
        by Python, and ends nothing.
        """
        if time.monotonic() >= self._signalled_at + pause:
            self._signal(SIGNAL)

    def drain(self, hammer_at: float) -> None:
        """Let the job see that the node drains, and until when (monotonic seconds); the hooks of the node hear it."""
        self._slate.words[Word.HAMMER_AT] = int(hammer_at * 1e9)
        self._signal(MOMENT)

    async def stacks(self) -> str:
        """Where its threads are just now, as :func:`django_graceful.stacks.ask` gives it."""
        return await stacks.ask(self._slate.path, lambda: self._signal(stacks.SIGNAL))

    def _signal(self, number: int) -> None:
        """Send it a signal. Only a worker that said it is ready handles ours, and none before has a pidfd for sure."""
        if self.came_up and self._pidfd >= 0:
            self._signalled_at = time.monotonic()
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def kill(self) -> None:
        """SIGKILL to the worker and its process group."""
        if self.pid:
            self._nursery.kill(self.pid)

    def retire(self) -> None:
        """Let it end as soon as its hands are empty; it must be given nothing more."""
        if self.stage in (Stage.STARTING, Stage.READY):
            self.stage = Stage.RETIRING
        if self.stage is Stage.RETIRING and not self.units and not self._told_to_retire:
            self._told_to_retire = True
            self._send(frame(Kind.RETIRE))

    @property
    def progress(self) -> Progress:
        """How far it came, as its slate says."""
        return self._slate.progress()

    def close(self) -> None:
        """Let go of everything, once what it held is settled."""
        self._sock.close()
        self.hands.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
        self._slate.close()
        self._slates.forget(self.name)

    # -- the socket -----------------------------------------------------------------------------------------------

    def _send(self, data: bytes) -> None:
        if self.stage is Stage.GONE:  # a writer in the loop would outlive the socket
            return
        if not self._outbox:
            with suppress(BlockingIOError, ConnectionError):
                data = data[self._sock.send(data) :]
            if not data:
                return
            self._loop.add_writer(self._sock, self._writable)
        self._outbox += data

    def _writable(self) -> None:
        with suppress(BlockingIOError):
            try:
                del self._outbox[: self._sock.send(self._outbox)]
            except ConnectionError:
                self._outbox.clear()
        if not self._outbox:
            self._loop.remove_writer(self._sock)

    def _readable(self) -> None:
        if not self._read():
            self._loop.remove_reader(self._sock)  # its end is told by the nursery
        self._changed(self)

    def _read(self) -> bool:
        """Take in what it says; False at the end of the stream."""
        while True:
            try:
                data = self._sock.recv(1 << 16)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not data:
                return False
            try:
                for kind, body in self._splitter.feed(data):
                    self._hear(decode_from_worker(kind, body))
            except WireError:
                self.kill()
                return False

    def _get_ready(self) -> None:
        """Ready is who has said so and can be sent signals; the two come by different ways."""
        if self.came_up and self._pidfd >= 0 and self.stage is Stage.STARTING:
            self.stage = Stage.READY
            self.hands.idle_since = time.monotonic()
            self._changed(self)

    def _hear(self, said: Done | Ended | Report | None) -> None:
        if said is None:
            self.came_up = True
            self._get_ready()
        elif isinstance(said, Done):
            self.done.append(said)
            self.jobs += said.number
        elif isinstance(said, Ended):
            self.done.append(said)
            self.jobs += len(said.executions)
        else:
            self.reports.append(said)
            self.jobs += len(said.done) + len(said.endings)
            if said.retiring and self.stage is Stage.READY:
                self.stage = Stage.RETIRING
