"""How long the work of this OS process may still go on, once the process has been asked to stop.

For processes that nobody above them tells (web workers): a job of a runner is told by its master. Processes without a
parent look here, see :attr:`Process.remaining <django_graceful.processes.Process.remaining>`. Safe in any thread and
in a signal handler: no lock is taken. A fork's child begins without a countdown.
"""

from __future__ import annotations

import math
import os
import time


class Countdown:
    """When running work is cancelled, and when what is left of it is killed. Times are of ``time.monotonic``."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Nobody has asked this process to stop."""
        self._hammer_at = self._kill_at = math.inf

    def start(self, hammer_in: float, kill_in: float) -> None:
        """Running work is cancelled in so many seconds, and killed in so many. An earlier moment replaces a later."""
        now = time.monotonic()
        self._hammer_at = min(self._hammer_at, now + hammer_in)
        self._kill_at = min(self._kill_at, now + kill_in)

    @property
    def running(self) -> bool:
        """Whether this process has been asked to stop."""
        return self._hammer_at < math.inf

    @property
    def remaining(self) -> float | None:
        """Seconds until running work is cancelled; None when nobody has asked this process to stop."""
        return max(0.0, self._hammer_at - time.monotonic()) if self.running else None

    def patience(self, most: float) -> float:
        """How many of ``most`` seconds a subprocess may have between TERM and KILL: half of what is left at most, so
        that the code that runs it can still clean up and answer.
        """
        return min(most, max(0.0, self._kill_at - time.monotonic()) / 2)


#: That of this OS process.
countdown = Countdown()
os.register_at_fork(after_in_child=countdown.clear)
