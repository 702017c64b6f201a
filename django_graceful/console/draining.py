"""Running what is in the queues here and now, within a time limit: ``runqueues --drain`` in this process."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from django.core.management import call_command
from django.core.management.base import CommandError


def drain(queues: Sequence[str], seconds: float, verbosity: int) -> None:
    """Handle what waits in these queues (none named: all). After ``seconds`` it is told to stop, as by SIGTERM.

    Raises ``CommandError`` when the runner could not run. No store may be open in this process.
    """
    try:
        with time_limit(seconds):
            call_command("runqueues", *queues, drain=True, verbosity=verbosity)
    except SystemExit as ending:
        if ending.code:
            raise CommandError(f"runqueues --drain ended with exit code {ending.code}") from None


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Send this process a SIGTERM after ``seconds``, once it has a handler for it.

    By a timer of the kernel: a thread must not exist when the runner forks. Does nothing outside of the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, _on_alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _on_alarm(number: int, frame: FrameType | None) -> None:
    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
    else:
        os.kill(os.getpid(), signal.SIGTERM)  # to the process: the runner waits for it in another thread
