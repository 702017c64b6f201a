"""gunicorn's hooks in a worker. They are short, may come nested and twice, and nothing that must not be lost waits for
them: a push is durable when it returns.

What acts is the guard, a thread; see :mod:`django_graceful.gunicorn.guard`. ``worker_int`` and ``worker_abort`` run
inside of a signal handler: they take no lock, ring, and give the work that is being cancelled a moment to end, because
gunicorn leaves right after them.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import signal
import threading
import time
from contextlib import suppress
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from django_graceful import descendants, interrupts
from django_graceful.conf import Conf, get_conf
from django_graceful.gunicorn import guard as guards
from django_graceful.gunicorn import sidecar
from django_graceful.gunicorn.arbiter import child_exit, worker_mark
from django_graceful.gunicorn.guard import Guard
from django_graceful.gunicorn.hearing import listen
from django_graceful.gunicorn.kinds import kind_of
from django_graceful.gunicorn.publishing import publish
from django_graceful.gunicorn.timetable import HURRY, LAST, Limits
from django_graceful.processes import roots
from django_graceful.stores import close_stores

logger = logging.getLogger("django_graceful.gunicorn")

#: Interrupts a view in the main thread.
SIGNAL = signal.SIGRTMIN + 6
#: Seconds in which such a view is interrupted for sure, if it can be.
_ARRIVAL = 0.2
_LOOK = 0.01


def post_fork(server: Any, worker: Any) -> None:
    """What the worker starts from now on is known as its own."""
    descendants.become(worker_mark(worker))


def post_worker_init(worker: Any) -> None:
    """The site is loaded, gunicorn's handlers are there: the guard begins."""
    kind = kind_of(type(worker))
    limits = Limits(float(worker.cfg.graceful_timeout), _kill_after(), kind.slack)
    guard = Guard(worker, kind, limits, worker_mark(worker))
    if kind.views_in_main:
        interrupts.use_signal(SIGNAL)
    listen(worker, kind, guard.ear)
    guards.install(guard)
    atexit.register(_at_exit)
    guard.start()
    publish(worker)
    sidecar.tell(worker)


def worker_int(worker: Any) -> None:
    """INT or QUIT: gunicorn leaves in a tenth of a second, whatever runs."""
    if threading.current_thread() is worker.reloader:
        return  # a file has changed: the worker stops as if it were asked to, which the guard sees by itself
    _hasten(signal.SIGQUIT, HURRY - LAST)


def worker_abort(worker: Any) -> None:
    """ABRT: no sign of life for ``timeout`` seconds. One is given now: the arbiter would kill a second from now."""
    with suppress(Exception):
        worker.tmp.notify()
    _hasten(signal.SIGABRT, _kill_after())


def worker_exit(server: Any, worker: Any) -> None:
    """The worker's loop has ended. In the arbiter when the worker was found dead: then as :func:`child_exit`."""
    if os.getpid() != worker.pid:
        child_exit(server, worker)
    elif guards.current() is None:  # it could not boot
        close_stores()
    else:
        _at_exit()


def _at_exit() -> None:
    guard = guards.current()
    if guard is not None:
        guard.leave()


def _hasten(number: int, seconds: float) -> None:
    guard = guards.current()
    if guard is None:
        return
    guard.ear.ring(number)
    if _in_loop():  # the work goes on when this returns
        return
    end = time.monotonic() + seconds
    while roots() and time.monotonic() < end:
        time.sleep(_LOOK)  # here a view of this thread is interrupted
        if guard.hammered and guard.kind.views_in_main:
            end = min(end, time.monotonic() + _ARRIVAL)


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _kill_after() -> float:
    try:
        return get_conf().kill_after
    except ImproperlyConfigured as error:
        logger.error("%s; KILL_AFTER is %g s until this is mended", error, Conf().kill_after)
        return Conf().kill_after
