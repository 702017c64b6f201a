"""Hearing: a thread of its own is subscribed to channels, and hands on what is said there.

The thread is a native one, also under gevent, takes no signal, and is the only one that touches its connection. When
that breaks, or is silently dead (pings are not answered), it subscribes again, for ever, with pauses. It exists from
the making of an :class:`Ear` to its :meth:`~Ear.close`; the child of a fork has none.
"""

from __future__ import annotations

import logging
import os
import select
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from django_graceful.native import Thread, original
from django_graceful.stores.redis.connections import closing, own_client, raw_client, where

logger = logging.getLogger("django_graceful.stores")

#: Seconds between two looks at the clock.
_LOOK: Final = 1.0
#: Seconds without a word after which we ask for one; after twice that the connection is given up.
_PING: Final = 3.0
#: Seconds to connect, and for the server to take a command.
TIMEOUT: Final = 3.0
#: Seconds for the thread to end.
_FAREWELL: Final = 0.5
#: Pauses between two tries to connect, in seconds.
_PAUSE, _LONGEST_PAUSE = 0.1, 2.0


class Ear:
    """Subscribed to ``channels`` of the cache alias's server until it is closed.

    All that follows is called in the thread. ``heard(client, message)`` for each message, with a client to answer by;
    ``deaf(error)`` while messages may be missed, at each try that failed; ``listening()`` when such a time has ended,
    the first one too.
    """

    def __init__(
        self,
        alias: str,
        channels: list[str],
        *,
        heard: Callable[[Any, bytes], object],
        deaf: Callable[[Exception], object],
        listening: Callable[[], object],
    ) -> None:
        self._alias, self._channels = alias, channels
        self._heard, self._deaf, self._listening = heard, deaf, listening
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._over = False
        self._pause = _PAUSE
        try:
            self._thread = Thread(self._serve)
        except BaseException:
            os.close(self._bell)
            raise

    def close(self) -> None:
        """Let go, and wait a moment for the end of the thread."""
        self._over = True
        os.eventfd_write(self._bell, 1)
        if self._thread.join(_FAREWELL):  # else it is about to connect, and ends when that has failed
            os.close(self._bell)

    def _serve(self) -> None:
        while not self._over:
            try:
                self._listen()
            except Exception as error:  # of whatever kind: whoever can not hear tries again
                self._deaf(error)
            self._wait([], self._pause)
            self._pause = min(_LONGEST_PAUSE, self._pause * 2)

    def _listen(self) -> None:
        client = own_client(raw_client(self._alias), TIMEOUT)
        with closing(client), client.pubsub() as calls:
            calls.subscribe(*self._channels)
            alive = time.monotonic()
            while not self._over:
                while (message := calls.get_message(timeout=0)) is not None:
                    alive = time.monotonic()
                    self._take(client, message)
                silence = time.monotonic() - alive
                if silence > 2 * _PING:
                    raise TimeoutError(f"{where(client)} has not answered for {silence:.0f} s")
                if silence > _PING:
                    calls.ping()
                self._wait([calls.connection._sock], _LOOK)

    def _take(self, client: Any, message: dict[str, Any]) -> None:
        if message["type"] == "message":
            self._heard(client, message["data"])
        elif message["type"] == "subscribe":
            self._pause = _PAUSE
            self._listening()

    def _wait(self, sockets: list[Any], seconds: float) -> None:
        poll = original("select", "poll")()
        for waited_for in (self._bell, *sockets):
            poll.register(waited_for, select.POLLIN)
        with suppress(InterruptedError):
            poll.poll(seconds * 1000)
