"""What a worker does last: hooks are called, subprocesses ended, stores closed.

Reached from ``worker_exit``, from ``atexit``, and from the guard when the worker does not leave by itself; maybe from
two threads at once. Every step may be repeated. How long all of it may take is the guard's business.
"""

from __future__ import annotations

import logging
import signal
import threading
import time

from django_graceful import descendants, lifecycle, spill
from django_graceful.lifecycle.countdown import countdown
from django_graceful.nodes.names import node_name
from django_graceful.processes import roots
from django_graceful.stores import close_stores

logger = logging.getLogger("django_graceful.gunicorn")

#: Seconds between two looks.
_LOOK = 0.02
_turn = threading.Lock()


def leave(mark: str, kill_after: float, unwind: float) -> None:
    """End this worker's work and its subprocesses, call the ``at_terminate`` hooks, close the stores.

    Work has ``unwind`` seconds to end, subprocesses ``kill_after`` between TERM and KILL. ``mark`` is the worker's.
    Jobs of a memory store have, like requests, until the hammer; what did not run is persisted. Who comes second waits
    for the first.
    """
    with _turn:
        spill.drain()
        spill.settle(unwind)
        cancel_all("shutdown", "the worker leaves")
        wait_for_work(unwind)
        spill.conclude()
        end_leftovers(mark, kill_after)
        lifecycle.node.reach(lifecycle.Phase.TERMINATE, node_name())
        close_stores()


def cancel_all(reason: str, note: str) -> list[str]:
    """Cancel everything that runs in this OS process; what that was, for people."""
    found = roots()
    for process in found:
        process.cancel(reason, by="gunicorn", note=note)
    return [process.description for process in found]


def wait_for_work(seconds: float) -> None:
    """Wait until nothing runs any more, at most so long."""
    end = time.monotonic() + seconds
    while roots() and time.monotonic() < end:
        time.sleep(_LOOK)


def end_leftovers(mark: str, kill_after: float) -> None:
    """TERM to what carries the mark, and KILL once its time is over; nothing is reaped that somebody waits for."""
    end = time.monotonic() + countdown.patience(kill_after)
    if not descendants.tell(signal.SIGTERM, mark):
        return
    while time.monotonic() < end:
        time.sleep(_LOOK)
        if not descendants.find_marked(mark):
            return
    descendants.tell(signal.SIGKILL, mark)
