"""A queue whose run is told to stop at an unlucky moment."""

from __future__ import annotations

import collections
import ctypes
import operator
import os
import signal
import time
from functools import partial
from typing import Any

from django_graceful import queue
from django_graceful.runner.stopping import SIGNAL as INTERRUPT
from tests.site.queues import say


def sleep_just_after(number: int) -> None:
    """Sleep for an hour, from the moment when Python has noted that signal and has not called its handler."""
    libc, mask = ctypes.PyDLL(None), ctypes.create_string_buffer(128)
    libc.sigemptyset(mask)
    libc.sigaddset(mask, int(number))
    signal.pthread_sigmask(signal.SIG_BLOCK, [number])
    while number not in signal.sigpending():
        time.sleep(0.001)
    # From C to C: the interpreter does not look in between.
    unblock = partial(libc.pthread_sigmask, int(signal.SIG_UNBLOCK), mask, None)
    collections.deque(map(operator.call, [unblock, partial(time.sleep, 3600)]))


@queue("unlucky", max_workers=1)
def unlucky(payload: dict[str, Any]) -> None:
    """Is told to stop in the moment between Python's last look for signals and the system call that waits."""
    say("start", payload["n"], os.getpid())
    sleep_just_after(INTERRUPT)
