"""Being woken: the calls of producers ring a socket of the runner's loop.

A call that gets lost costs a second at most: the owner asks by itself then. After a time in which nothing could be
heard it asks at once.
"""

from __future__ import annotations

import logging
import socket
import threading
from contextlib import suppress
from typing import Any

from django_graceful.stores.redis.hearing import Ear
from django_graceful.stores.redis.line import Line

logger = logging.getLogger("django_graceful.stores")


class Listener:
    """Hears calls until it is closed. ``socket`` is readable when there is news."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self.socket, self._rope = socket.socketpair()
        self.socket.setblocking(False)
        self._rope.setblocking(False)
        self._lock = threading.Lock()
        self._called: set[str] = set()
        #: There was a time in which nothing was heard.
        self._missed = True
        self._told = False
        #: Calls are heard now.
        self.listening = False
        self._ear = Ear(
            line.alias, [line.channel], heard=self._on_call, deaf=self._on_deaf, listening=self._on_listening
        )

    @property
    def news(self) -> bool:
        """Whether something was called since :meth:`heard`."""
        return self._missed or bool(self._called)

    def heard(self) -> set[str] | None:
        """The queues that were called since the last time; None: any may have been. Not ringing any more."""
        with suppress(BlockingIOError):
            while self.socket.recv(64):
                pass
        with self._lock:
            called, self._called = self._called, set()
            missed, self._missed = self._missed, False
        return None if missed else called

    def close(self) -> None:
        """End the thread and let go of the sockets."""
        self._ear.close()
        self.socket.close()
        self._rope.close()

    def _on_call(self, client: Any, key: bytes) -> None:
        with self._lock:
            self._called.add(self._line.queue_of(key))
        self._ring()

    def _on_deaf(self, error: Exception) -> None:
        self.listening = False
        if not self._told:
            logger.warning("%s: calls can not be heard: %s", self._line.place, error)
            self._told = True

    def _on_listening(self) -> None:
        self.listening, self._told = True, False
        with self._lock:
            self._missed = True
        self._ring()

    def _ring(self) -> None:
        with suppress(OSError):  # full: it rings already; closed: nobody is there to hear it
            self._rope.send(b"!")
