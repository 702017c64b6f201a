"""The last word of promise P4: the master ends in time even if its main thread never comes back (a dead disk).

A native thread, started by the first signal that ends the work. Should the process still exist when its time is up, it
says what was waited for and leaves by ``os._exit(1)``: nothing is flushed, nothing closed. That is a crash like any
other: the next start brings everything back, and the fork server ends the workers as soon as the master is gone.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable

from django_graceful import stacks

logger = logging.getLogger("django_graceful.runner")

#: Seconds for the last words; whoever holds the log's lock may be what hangs.
_LAST_WORDS = 1.0


class Watchdog:
    """Ends the process at its deadline, unless disarmed. Safe in any thread and in signal handlers."""

    def __init__(self, describe: Callable[[], str], leave: Callable[[int], object] = os._exit) -> None:
        #: When it will strike, in monotonic seconds.
        self.deadline: float | None = None
        self._describe = describe
        self._leave = leave
        self._changed = threading.Condition()

    def arm(self, seconds: float) -> None:
        """The process ends in that many seconds at the latest, or earlier when that was said before."""
        due = time.monotonic() + seconds
        with self._changed:
            first = self.deadline is None
            self.deadline = due if self.deadline is None else min(due, self.deadline)
            self._changed.notify()
        if first:
            threading.Thread(target=self._wait, name="watchdog", daemon=True).start()

    def disarm(self) -> None:
        """All is well."""
        with self._changed:
            self.deadline = None
            self._changed.notify()

    def left(self) -> float:
        """Seconds until it strikes; 0 while it is not armed."""
        return max(0.0, self.deadline - time.monotonic()) if self.deadline is not None else 0.0

    def _wait(self) -> None:
        with self._changed:
            while self.deadline is not None and self.left() > 0:
                self._changed.wait(self.left())
            if self.deadline is None:
                return
        words = threading.Thread(target=self._say, daemon=True)
        words.start()
        words.join(_LAST_WORDS)
        self._leave(1)

    def _say(self) -> None:
        try:
            waited_for = self._describe()
        except Exception as error:  # the state of a thread that is stuck, seen from outside
            waited_for = f"what can not be told ({error!r})"
        logger.critical(
            "the runner ends here, by force: it has not come to its end in time. It waited for %s\n%s",
            waited_for,
            stacks.own(),
        )
