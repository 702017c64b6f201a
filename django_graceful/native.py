"""Real threads for our own watchers, also where gevent has patched the modules that would make one.

Such a thread takes no signal: all are blocked in it, so whoever waits for a signal in another thread still gets it.
It is nobody's business at the end: the interpreter does not wait for it.
"""

from __future__ import annotations

import importlib
import logging
import signal
import sys
from collections.abc import Callable
from typing import Any

logger = logging.getLogger("django_graceful.native")


def original(module: str, name: str) -> Any:
    """``module.name`` as the standard library has it, whatever gevent has put in its place."""
    monkey = sys.modules.get("gevent.monkey")
    return getattr(importlib.import_module(module), name) if monkey is None else monkey.get_original(module, name)


class Thread:
    """A native thread that runs ``body`` from now on. What ``body`` raises is logged. Raises ``RuntimeError`` when the
    system has no thread left.
    """

    def __init__(self, body: Callable[[], object]) -> None:
        self._running = original("_thread", "allocate_lock")()
        self._running.acquire()
        begun = original("_thread", "allocate_lock")()
        begun.acquire()
        # Blocked before it begins, which inherits it: there is no moment in which a signal could go astray.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            original("_thread", "start_new_thread")(self._run, (body, begun.release))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        # Until it has begun, Python 3.11 knows it by our own number: an exception that is meant for us would hit it.
        begun.acquire()

    def _run(self, body: Callable[[], object], begun: Callable[[], object]) -> None:
        begun()
        try:
            body()
        except BaseException:
            logger.exception("a thread of django_graceful ended by an error")
        finally:
            self._running.release()

    def join(self, seconds: float) -> bool:
        """Wait for its end, at most so long; whether it has ended."""
        ended: bool = self._running.acquire(timeout=seconds)
        if ended:
            self._running.release()
        return ended
