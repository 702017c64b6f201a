"""The sweeper of the outboxes as the master sees it: ordered from the fork server, and again when it has ended.

Runs in the master's loop. The sweeper itself (:mod:`django_graceful.outbox.sweeper`) needs no stop: it ends with the
socket, and may be killed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from django_graceful.outbox.sweeper import IDLE
from django_graceful.outbox.sweeping import databases
from django_graceful.runner.nursery import Nursery

logger = logging.getLogger("django_graceful.runner")

#: Seconds until the next one: when no database had the table (it may be migrated by then), and when one died.
_AGAIN, _RESTART = 60.0, 5.0


class Sweeping:
    """Keeps one sweeper alive. ``looked`` is called after each round in which it found nothing."""

    def __init__(self, nursery: Nursery, directory: Path, looked: Callable[[], None]) -> None:
        self._nursery, self._looked = nursery, looked
        self._slate = directory / "sweeper"
        self._sock: socket.socket | None = None
        self._pidfd = -1
        self._later: asyncio.TimerHandle | None = None
        self._closed = False
        #: Whether the outboxes were looked into once, or there are none: what was left there before is in the stores.
        self.caught_up = not databases()
        if not self.caught_up:
            self._start()

    def spawned(self, pid: int, pidfd: int) -> None:
        """It exists."""
        self._pidfd = pidfd

    def exited(self, status: int) -> None:
        """It is gone."""
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        self._let_go()
        if self._closed or not self._nursery.alive:
            return
        if status:
            logger.error("the sweeper of the outboxes ended with %d; another one starts in %g s", status, _RESTART)
        self._later = asyncio.get_running_loop().call_later(_RESTART if status else _AGAIN, self._start)
        self._caught_up()

    def close(self) -> None:
        """Let it end."""
        self._closed = True
        if self._later is not None:
            self._later.cancel()
        self._let_go()

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._sock = ours
        with theirs:
            self._nursery.spawn("sweeper", self._slate, [theirs.fileno()], self, kind="sweep")
        asyncio.get_running_loop().add_reader(ours, self._hear)

    def _hear(self) -> None:
        data = b""
        with suppress(OSError):
            data = self._sock.recv(4096) if self._sock is not None else b""
        if IDLE in data:
            self._caught_up()
        elif not data:
            self._let_go()

    def _caught_up(self) -> None:
        self.caught_up = True
        self._looked()

    def _let_go(self) -> None:
        if self._sock is not None:
            asyncio.get_running_loop().remove_reader(self._sock)
            self._sock.close()
            self._sock = None
