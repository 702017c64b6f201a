"""How a run is stopped from outside, as the worker sees it.

The master writes the wish on the slate and sends :data:`SIGNAL`. The handler raises
:class:`~django_graceful.exceptions.Cancelled` in the main thread, wherever that is (``time.sleep``, a socket, a
lock), but only when the wish names the execution that runs: a late signal can never hit another one. It raises once
per run; what swallows it is killed after the grace. Where several run at once, :mod:`.seating` does this for each.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from django_graceful.exceptions import Cancelled
from django_graceful.runner.slate import Slate, Why, Word

#: A real-time signal, so that none is lost and no site's own handler is in the way.
SIGNAL = signal.SIGRTMIN + 3

#: What only the master decides about: here these do nothing. A handler's forks get the defaults back.
QUIET = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTSTP,
)
#: What ``Cancelled`` carries.
REASONS = {Why.CANCEL: "cancel", Why.TIMEOUT: "timeout", Why.SHUTDOWN: "shutdown"}


class Stopper:
    """Watches the slate for a wish about the current execution."""

    def __init__(self, slate: Slate) -> None:
        self._words = slate.words
        self._current = 0
        self._task: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]] | None = None
        #: Why the current execution was told to stop; None while nobody told it.
        self.why: Why | None = None
        #: While several runs are on their way: called in the signal handler, to look for their wishes.
        self.pass_on: Callable[[], None] | None = None

    def install(self) -> None:
        """Take the signal, and leave the others alone: the master decides about TERM and INT.

        Handlers instead of ``SIG_IGN``, which a subprocess would inherit. A fork of a handler (``multiprocessing``)
        gets the defaults back, and what is sent to it before it has them waits for that.
        """
        signal.signal(SIGNAL, self._on_signal)
        for number in QUIET:
            signal.signal(number, _leave_to_master)
        os.register_at_fork(before=hold, after_in_parent=release, after_in_child=_default_handlers)

    def begin(self, execution: int) -> None:
        """``execution`` runs from now on. Raises ``Cancelled`` at once when the wish was there first."""
        self.why = None
        self._current = execution
        self._check()

    def end(self) -> None:
        """Nothing runs any more; a signal from now on changes nothing."""
        self._current = 0
        self._task = None

    def watch(self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]) -> None:
        """The current execution is this task: cancel it in its loop's own way."""
        self._task = (loop, task)
        if self.why is not None:
            task.cancel()

    @property
    def asked(self) -> Why | None:
        """What the slate wishes for the current execution."""
        words = self._words
        return Why(words[Word.WHY]) if self._current and words[Word.WISH] == self._current else None

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        if forking(frame):
            return
        if self.pass_on is not None:
            self.pass_on()
        self._check()

    def _check(self) -> None:
        asked = self.asked
        if asked is None or self.why is not None:
            return
        self.why = asked
        if self._task is not None:
            loop, task = self._task
            loop.call_soon_threadsafe(task.cancel)
            return
        raise Cancelled(REASONS[asked])


def _leave_to_master(signum: int, frame: FrameType | None) -> None:
    """TERM, INT and HUP reach a whole process group or container; the master orders the shutdown."""


_masks = threading.local()


def hold() -> None:
    """A fork comes: a signal that its child gets before it has handlers of its own would do what it does to us."""
    _masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, [SIGNAL, *QUIET])


def release() -> None:
    """The fork is there."""
    signal.pthread_sigmask(signal.SIG_SETMASK, _masks.before)


def forking(frame: FrameType | None) -> bool:
    """Whether a signal handler that was called there must not raise: what comes out of a function that is called at a
    fork is lost. Whoever has sent the signal repeats it.
    """
    return frame is not None and frame.f_code in (hold.__code__, release.__code__)


def _default_handlers() -> None:
    signal.set_wakeup_fd(-1)
    for number in (SIGNAL, *QUIET):
        signal.signal(number, signal.SIG_DFL)
    release()
    # Last, for the same reason: its KeyboardInterrupt would be lost in here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
