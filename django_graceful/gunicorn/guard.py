"""The guard of a worker: one native thread that hears the signals, keeps the timetable, and does what it says.

It exists in each gunicorn worker from ``post_worker_init`` on. It needs nothing of the main thread, so the hammer
strikes while a view blocks in C code, and also where gevent has patched everything. Where gunicorn sets no limit
(reload, ``max_requests``, a thread that never ends, a dead arbiter), the last step is the limit: the guard leaves for
the worker. The child of a fork has none.
"""

from __future__ import annotations

import logging
import math
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django_graceful import descendants, families, lifecycle
from django_graceful.gunicorn import leaving
from django_graceful.gunicorn.hearing import CAUSES, Ear, unhear
from django_graceful.gunicorn.kinds import Kind
from django_graceful.gunicorn.timetable import Cause, Limits, Step, Timetable, plan
from django_graceful.lifecycle.countdown import countdown
from django_graceful.native import Thread, original
from django_graceful.nodes.names import node_name
from django_graceful.processes import roots

logger = logging.getLogger("django_graceful.gunicorn")

#: How often it looks whether the worker has left its loop, in seconds.
_LOOK = 0.25
#: Seconds for the last step.
_FAREWELL = 1.0
#: Seconds for work and subprocesses to end when the worker leaves, and there was no hammer before.
_SHORT = 1.0


class Guard:
    """The guard of this worker; :meth:`start` it in the main thread. ``mark`` is what its subprocesses carry."""

    def __init__(self, worker: Any, kind: Kind, limits: Limits, mark: str) -> None:
        self.kind = kind
        self.ear = Ear()
        #: Whether running work has been cancelled.
        self.hammered = False
        self._worker, self._limits, self._mark = worker, limits, mark
        self._table = Timetable()
        self._steps = list(Step)
        self._blocked = False
        self._in_hub = _hub() if kind is Kind.GEVENT else None
        self._arbiter = _watch(worker.ppid)

    def start(self) -> None:
        """From now on."""
        Thread(self._run)

    def leave(self) -> None:
        """The worker ends: see :func:`leaving.leave`. Not for ever: a worker that takes too long is ended."""
        self.ear.ring(signal.SIGTERM)
        leaving.leave(self._mark, min(_SHORT, self._limits.kill_after), 0.0 if self.hammered else _SHORT)

    def _run(self) -> None:
        poll = original("select", "poll")()
        poll.register(self.ear.fd, select.POLLIN)
        if self._arbiter >= 0:
            poll.register(self._arbiter, select.POLLIN)
        while True:
            ready = poll.poll(max(0.0, min(_LOOK, self._due() - time.monotonic())) * 1000)
            if self._arbiter in dict(ready):
                poll.unregister(self._arbiter)
                os.kill(os.getpid(), signal.SIGTERM)
            try:
                self._turn()
            except Exception:
                logger.exception("the guard of a worker")

    def _turn(self) -> None:
        causes = self.ear.heard()
        if not causes and self._table.drain_at == math.inf and self._has_left():
            causes = [Cause.ASKED]
        for cause in causes:
            self._heed(cause)
        if self._blocked:
            with suppress(Exception):  # it is closed when the worker has come to its end
                self._worker.tmp.notify()
        while self._steps and self._table.at(self._steps[0]) <= time.monotonic():
            self._do(self._steps.pop(0))

    def _heed(self, cause: Cause) -> None:
        now = time.monotonic()
        self._blocked = self._blocked or cause is Cause.BLOCKED
        self._table = self._table.sooner(plan(cause, now, self._limits))
        countdown.start(self._table.hammer_at - now, self._table.exit_at - self._limits.slack - now)

    def _due(self) -> float:
        return self._table.at(self._steps[0]) if self._steps else math.inf

    def _has_left(self) -> bool:
        """Whether the worker has left its loop, for whatever reason."""
        if self.kind is Kind.UVICORN:  # at max_requests it only closes its sockets
            return any(getattr(listener, "sock", listener) is None for listener in self._worker.sockets)
        return not self._worker.alive

    def _do(self, step: Step) -> None:
        _STEPS[step](self)

    def _drain(self) -> None:
        self._call(lambda: lifecycle.node.reach(lifecycle.Phase.DRAINING, node_name()))

    def _hammer(self) -> None:
        reason, note = ("timeout", "the worker is blocked") if self._blocked else ("shutdown", "the worker stops")
        names = leaving.cancel_all(reason, note)
        self.hammered = True
        self._call(lambda: lifecycle.node.reach(lifecycle.Phase.HAMMER, node_name()))
        if names:
            self._say(logging.WARNING, "cancelled: %s", ", ".join(names))

    def _ask(self) -> None:
        descendants.tell(signal.SIGTERM, self._mark, families.asked())

    def _kill(self) -> None:
        descendants.tell(signal.SIGKILL, self._mark)

    def _exit(self) -> None:
        """It should be gone by now, and will be, whatever goes wrong here."""
        unfinished = [process.description for process in roots()] + _threads()
        try:
            descendants.tell(signal.SIGKILL, self._mark)
            if unfinished:
                self._say(logging.ERROR, "ends before these have ended: %s", ", ".join(unfinished))
            self._farewell()
        finally:
            os._exit(1 if unfinished else 0)

    def _farewell(self) -> None:
        waiting = original("_thread", "allocate_lock")()
        waiting.acquire()

        def body() -> None:
            try:
                self.leave()
            finally:
                waiting.release()

        if self._in_hub is not None:
            self._in_hub(body)
        else:
            with suppress(RuntimeError):  # the interpreter ends, and starts no thread any more: this was done before
                Thread(body)
        waiting.acquire(timeout=_FAREWELL)

    def _say(self, level: int, text: str, *arguments: object) -> None:
        self._call(lambda: self._worker.log.log(level, f"Worker (pid:%s) {text}", os.getpid(), *arguments))

    def _call(self, function: Callable[[], object]) -> None:
        """What uses threads and locks, which under gevent belong to the hub."""
        if self._in_hub is None:
            function()
        else:
            self._in_hub(function)


_STEPS: dict[Step, Callable[[Guard], None]] = {
    Step.DRAIN: Guard._drain,
    Step.HAMMER: Guard._hammer,
    Step.ASK: Guard._ask,
    Step.KILL: Guard._kill,
    Step.EXIT: Guard._exit,
}


def _hub() -> Callable[[Callable[[], object]], object]:
    """What runs a function in a greenlet of the main thread, from any thread."""
    import gevent

    loop = gevent.get_hub().loop
    return lambda function: loop.run_callback_threadsafe(gevent.spawn, function)


def _watch(parent: int) -> int:
    """A descriptor that is readable when that parent has ended; -1 when it ended before."""
    with suppress(OSError):
        found = os.pidfd_open(parent)
        if os.getppid() == parent:
            return found
        os.close(found)
    os.kill(os.getpid(), signal.SIGTERM)
    return -1


def _threads() -> list[str]:
    """What keeps the interpreter from ending."""
    main = threading.main_thread()
    return [f"thread {one.name}" for one in threading.enumerate() if one is not main and not one.daemon]


class _Current:
    guard: Guard | None = None


def current() -> Guard | None:
    """The guard of this OS process; None outside of a worker, and in its forks."""
    return _Current.guard


def install(guard: Guard) -> None:
    """Make it the guard of this OS process."""
    _Current.guard = guard


#: By thread: what was blocked before its fork.
_masks: dict[int, set[int]] = {}


def _before_fork() -> None:
    """A signal that hits the child before it has let go of our ear would be heard by the parent."""
    if _Current.guard is not None:
        _masks[threading.get_ident()] = signal.pthread_sigmask(signal.SIG_BLOCK, CAUSES)


def _after_fork_in_parent() -> None:
    mask = _masks.pop(threading.get_ident(), None)
    if mask is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _after_fork_in_child() -> None:
    if _Current.guard is not None:
        _Current.guard = None
        unhear()
        _after_fork_in_parent()
        # Last: its KeyboardInterrupt would be lost in here.
        signal.signal(signal.SIGINT, signal.default_int_handler)


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
