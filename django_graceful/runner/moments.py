"""How a worker hears that its node drains and that the hammer strikes: a word on the slate, then a signal.

The main thread may be in the middle of a job. So as soon as a hook or a receiver waits for one of these moments, a
thread waits for the signal. While nobody waits there is no thread; the signal then stays pending, and the worker's
farewell makes up for what nobody heard.
"""

from __future__ import annotations

import signal
import threading
import time

from django_graceful.lifecycle import Phase, node
from django_graceful.runner.slate import Word
from django_graceful.runner.stopping import SIGNAL as STOP

#: Blocked in every thread of a worker: it interrupts nothing, and waits for who waits for it.
SIGNAL = signal.SIGRTMIN + 4


class Moments:
    """The moments of this worker, or of a supervised command, called ``name``: from the word ``HAMMER_AT`` of its page.

    Construct it in the main thread, before any other thread exists. ``eager``: with a thread from the start, so that
    the phase that this node shows to others is right although nobody here waits.
    """

    def __init__(self, words: memoryview, name: str, *, eager: bool = False) -> None:
        self._words = words
        self._name = name
        signal.pthread_sigmask(signal.SIG_BLOCK, [SIGNAL])
        if eager:
            self._watch()
        else:
            node.watch(self._watch)

    def say_farewell(self) -> None:
        """All jobs are over: make up for what was not heard, then terminate. Returns when every hook has had its
        time.
        """
        self._catch_up()
        node.reach(Phase.TERMINATE, self._name)

    def _watch(self) -> None:
        # What stops a run must meet the main thread. The new thread inherits the mask, and so do its hooks.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [STOP])
        try:
            threading.Thread(target=self._listen, name="graceful: moments", daemon=True).start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _listen(self) -> None:
        while not self._catch_up():
            signal.sigwait([SIGNAL])

    def _catch_up(self) -> bool:
        """Reach the phase that the slate tells; whether it is the last one that is told there."""
        at = self._words[Word.HAMMER_AT]
        struck = 0 < at <= time.monotonic_ns()
        if at:
            node.reach(Phase.HAMMER if struck else Phase.DRAINING, self._name)
        return struck
