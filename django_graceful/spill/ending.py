"""The end of what this process keeps in memory, in three steps. Each may be taken by anybody, at any time, twice, and
by several threads at once; every later step does what an earlier one has left undone.

:func:`drain`     nothing new is kept or begun, what waits is handed over
:func:`settle`    what runs may go on for a while
:func:`conclude`  what still runs is cancelled and handed over too, and so runs again

Who takes them: ``drain`` is a hook of the draining node. A gunicorn worker that leaves takes all three
(:mod:`django_graceful.gunicorn.leaving`), from ``worker_exit``, from ``atexit``, and from its guard's thread when the
worker does not leave by itself; ``worker_int`` and ``worker_abort``, which run inside of a signal handler, only make
the guard begin. Every process takes all three from ``atexit``, and an ASGI server without gunicorn by
:class:`~django_graceful.spill.lifespan.Lifespan`.
"""

from __future__ import annotations

import atexit
import logging
import os
import time
from typing import Final

from django_graceful import lifecycle
from django_graceful.conf import get_conf
from django_graceful.lifecycle.countdown import countdown
from django_graceful.spill import fitness
from django_graceful.spill.stock import stocks

logger = logging.getLogger("django_graceful.spill")

#: Seconds between two looks at what runs.
_LOOK: Final = 0.02
#: Seconds that cancelled jobs have to clean up when the process leaves.
_UNWIND: Final = 1.0
#: The most seconds that the other store is tried for the last time.
_LAST: Final = 5.0

_expected: set[int] = set()


def expect() -> None:
    """This process keeps something in memory: be there when it ends."""
    pid = os.getpid()
    if pid in _expected:
        return
    _expected.add(pid)  # first: a signal handler that pushes must not come in here a second time
    try:
        lifecycle.at_shutdown(drain, name="handing over what is in memory")
        atexit.register(leave)  # what a fork inherits of this does no harm twice
    except BaseException:
        _expected.discard(pid)
        raise


def drain() -> None:
    """Keep nothing new, begin nothing, and hand over what waits, as long as the process has until its hammer."""
    close()
    remaining = countdown.remaining
    _hand_over(get_conf().hammer_after if remaining is None else remaining)


def close() -> None:
    """The first part of :func:`drain`, which takes no time."""
    fitness.refuse()
    for stock in stocks():
        stock.close()


def settle(seconds: float) -> bool:
    """Wait until nothing of it runs any more: until the hammer, where this process has one, else for so many seconds.
    Whether nothing does.
    """
    begin = time.monotonic()
    while any(stock.busy for stock in stocks()):
        remaining, passed = countdown.remaining, time.monotonic() - begin
        if remaining == 0 or (remaining is None and passed >= seconds):
            return False
        time.sleep(_LOOK)
    return True


def conclude(seconds: float = _LAST) -> None:
    """Hand over everything, also what still runs; what the other store does not take within so many seconds is written
    to a file, and named in the log.
    """
    close()
    deadline = time.monotonic() + min(seconds, countdown.patience(seconds))
    for stock in stocks():
        abandoned = stock.keeper.abandon()
        if abandoned:
            logger.warning("store %s: did not end in time, and will run again: %s", stock.alias, ", ".join(abandoned))
        stock.handover.rescue(deadline)


def leave() -> None:
    """All of it, in a process that ends: jobs have half of ``KILL_AFTER`` to end, then a second to clean up. Ctrl-C
    cuts that short.
    """
    if not stocks():
        return
    try:
        close()
        _hand_over(0.0)
        if not settle(get_conf().kill_after / 2):
            for stock in stocks():
                stock.hands.cancel("the process ends")
            _unwind()
    except KeyboardInterrupt:
        pass
    finally:
        conclude()


def _unwind() -> None:
    end = time.monotonic() + _UNWIND
    while any(stock.busy for stock in stocks()) and time.monotonic() < end:
        time.sleep(_LOOK)


def _hand_over(seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for stock in stocks():
        stock.handover.all(deadline)
