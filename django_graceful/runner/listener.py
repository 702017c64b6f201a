"""The signals of the master, taken in a thread of its own, so that they count while the loop is stuck.

All of them are blocked in every other thread and waited for here; a signal is handed to the loop, in order, and never
acts by itself. Two signals of the same kind count as two as soon as the first was taken, which is a matter of
microseconds on a machine that has time for it. The kernel keeps only one of a kind that nobody has taken yet: two TERM
within a moment may arrive as one, and there is nothing a receiver could do about it.

The fork server is forked before the signals are blocked, so no worker and no subprocess inherits that.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable

from django_graceful import stacks
from django_graceful.lifecycle import Event, Phase

logger = logging.getLogger("django_graceful.runner")

#: The signals that end the runner for good, and all that end its work.
ENDING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})
_STOPPING = ENDING | {signal.SIGHUP, signal.SIGUSR2}
_HEARD = _STOPPING | {signal.SIGTSTP, signal.SIGCONT, signal.SIGUSR1}

_EVENTS = {
    signal.SIGTERM: Event.STOP,
    signal.SIGINT: Event.STOP,
    signal.SIGQUIT: Event.HAMMER,
    signal.SIGUSR2: Event.HAMMER,
    signal.SIGTSTP: Event.QUIET,
    signal.SIGCONT: Event.RESUME,
}


def heed(number: int, phase: Phase, restart: bool) -> tuple[Event | None, bool]:
    """What a signal means to a master in that phase: the event, and whether it is to start again after its end.

    A restart is asked for once; it never hastens a stop. The first TERM or INT after it calls the restart off and
    leaves the drain its time. Pure.
    """
    known = signal.Signals(number)
    if known is signal.SIGHUP:
        return (Event.STOP, True) if phase in (Phase.RUNNING, Phase.QUIET) else (None, restart)
    event = _EVENTS.get(known)
    if known in ENDING and restart:
        return (None if event is Event.STOP else event), False
    return event, restart


class Listener:
    """Takes the signals from the moment it is made; in its own thread from :meth:`start` on."""

    def __init__(self, alarm: Callable[[], None]) -> None:
        #: Called when a signal ends the work; from :meth:`start` on, because it may start a thread.
        self._alarm = alarm
        self._lock = threading.RLock()  # the main thread's handler may meet the main thread inside
        self._noted: list[int] = []
        self._deliver: Callable[[int], object] | None = None
        self._thread = threading.Thread(target=self._listen, name="signals", daemon=True)
        self._over = False
        self._mask: set[int] = set()
        for number in _HEARD:
            signal.signal(number, lambda signum, frame: self._take(signum))

    def start(self) -> None:
        """Go on in a thread. Call it in the main thread, after the fork server was forked and before there is any
        other thread.
        """
        self._mask = set(signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD))
        self._thread.start()
        if _STOPPING.intersection(self._noted):
            self._alarm()

    def deliver(self, act: Callable[[int], None]) -> None:
        """Hand the signals to ``act`` in the running loop, those first that came before."""
        loop = asyncio.get_running_loop()
        with self._lock:
            self._deliver = lambda number: loop.call_soon_threadsafe(act, number)
            for number in self._noted:
                self._deliver(number)
            self._noted.clear()

    def hold(self) -> None:
        """The loop ends: keep what comes from now on."""
        with self._lock:
            self._deliver = None

    def stop(self) -> list[int]:
        """End the thread; the signals that came since :meth:`hold`."""
        if self._thread.is_alive():
            self._over = True
            signal.pthread_kill(self._thread.ident or 0, signal.SIGCONT)
            self._thread.join()
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        return self._noted

    def _listen(self) -> None:
        while True:
            number = signal.sigwait(_HEARD)
            if self._over:
                return
            self._take(number)

    def _take(self, number: int) -> None:
        if number in _STOPPING and self._thread.is_alive():
            self._alarm()
        elif number == signal.SIGUSR1:
            logger.warning("stacks of runner %d:\n%s", os.getpid(), stacks.own())
        with self._lock:
            try:
                if self._deliver is not None:
                    self._deliver(number)
                    return
            except RuntimeError:  # the loop has been closed by an error of its own
                self._deliver = None
            self._noted.append(number)
