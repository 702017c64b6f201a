"""A web request as a process: how it is named, interrupted, and how it ends.

Made by the middleware, in the thread or task that serves the request; cancelled from any thread. What interrupts it
never reaches the next request of that thread or task: see :mod:`django_graceful.interrupts` for threads; a task is
only cancelled in its loop, between two steps, while it is in the request's hands.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from asgiref.sync import AsyncToSync
from django.db import connections
from django.http import HttpRequest

from django_graceful import nodes
from django_graceful.interrupts import Region, cancelled_as
from django_graceful.processes import Process, _current, current_process, enter, leave, roots

Result = TypeVar("Result")

#: The longest path and the longest method that are shown, in characters.
MAX_PATH = 200
MAX_METHOD = 20
#: Seconds that an exception may take to arrive in a thread before the task that waits for the thread is cancelled too:
#: the thread may itself be waiting for a coroutine (a sync middleware around an async view).
_ARRIVAL = 0.1

logger = logging.getLogger("django_graceful.web")
#: The OS process that could not be made visible, and has said so.
_mute = 0


class RequestProcess(Process):
    """The process of one request."""

    #: Whether its view runs to its end when the client is gone.
    finishes = False
    #: How many cancels of the task in :meth:`in_task` are ours.
    cancels = 0
    _before = 0
    _task: asyncio.Task[Any] | None = None
    _arrived = False

    def __init__(self, request: HttpRequest) -> None:
        super().__init__("", _current.get(), kind="request")  # its description is worked out when somebody asks
        self._request = request
        self._region = Region()
        self.on_cancel = _interrupt

    @property
    def description(self) -> str:
        """Method and path, never the query string."""
        method, path = (self._request.method or "")[:MAX_METHOD], self._request.path
        return _printable(f"{method} {path if len(path) <= MAX_PATH else path[: MAX_PATH - 1] + '…'}")

    @property
    def in_hand(self) -> bool:
        """Whether a task works for it now."""
        return self._task is not None

    @property
    def given_up(self) -> bool:
        """Whether the server has cancelled the task: it does so when the client is gone."""
        return self._task is not None and self._task.cancelling() - self._before > self.cancels

    def desert(self) -> None:
        """Its client is gone: cancel it, unless its view is to finish."""
        if not self.finishes:
            self.cancel(note="the client has disconnected")

    def call(self, function: Callable[..., Result], *arguments: Any, **options: Any) -> Result:
        """Call ``function``, which gets :class:`Cancelled` when this process is cancelled."""
        try:
            return self._region.run(function, *arguments, **options)
        finally:
            if self._arrived:
                close_connections()

    def heed(self) -> None:
        """Raise :class:`Cancelled` for a cancel that came while there was nothing to interrupt."""
        stop = self.stop
        if stop is not None and stop.stopping_at is None:
            self.check()

    @contextmanager
    def current(self) -> Iterator[None]:
        """This process is the current one, wherever the code of its response runs."""
        before = _current.get()
        _current.set(self)
        try:
            yield
        finally:
            _current.set(before)

    def rest(self) -> None:
        """Not the current one for now; it is not over."""
        _current.set(self.parent)

    @contextmanager
    def in_task(self) -> Iterator[asyncio.Task[Any]]:
        """The current task works for this process: it is cancelled when this process is."""
        task = asyncio.current_task()
        assert task is not None
        self.cancels, self._before, self._task = 0, task.cancelling(), task
        try:
            yield task
        finally:
            self._task = None
            for _ in range(self.cancels):
                task.uncancel()

    def show(self) -> None:
        """Make this OS process visible; where that fails, say so once: a request needs no store (P10)."""
        global _mute
        try:
            nodes.join("web")
        except Exception:
            if _mute != os.getpid():
                _mute = os.getpid()
                logger.warning("the requests of this OS process are not listed", exc_info=True)

    def end(self) -> None:
        """The request is over; what still runs below it is cancelled. May be called again."""
        if self.commands or self.children:
            self.cancel(note="the request is over")
        current = _current.get()
        leave(self)
        if current is not self:  # a response that is closed while other work is at hand
            _current.set(current)

    def interrupt(self) -> None:
        """Stop what runs now; in the canceller's thread."""
        stop = self.stop
        if stop is None:
            return

        def seen() -> None:
            self._arrived = True
            stop.begin()

        if self._region.busy and _cancel_tasks_of(self._region.thread):
            return
        sent = self._region.interrupt(cancelled_as(stop.reason, seen))
        task = self._task
        if task is not None:
            loop = task.get_loop()
            with suppress(RuntimeError):  # the loop is closed, so the task is over
                loop.call_soon_threadsafe(loop.call_later, _ARRIVAL if sent else 0, self._cancel_task, task)

    def _cancel_task(self, task: asyncio.Task[Any]) -> None:
        if task is not self._task or self._arrived:
            return
        if self.stop is not None:
            self.stop.begin()
        self.cancels += 1
        task.cancel()


def begin(request: HttpRequest) -> RequestProcess:
    """The process of ``request``, listed, and the current one of the caller's context."""
    made = RequestProcess(request)
    enter(made)
    return made


def requesting() -> RequestProcess | None:
    """The request that the caller works for, if there is one."""
    process = current_process()
    while process is not None and not isinstance(process, RequestProcess):
        process = process.parent
    return process


def cancel_requests(reason: str = "shutdown", *, by: str = "", note: str = "") -> int:
    """Cancel every request that runs in this OS process, from any thread; how many there were. Returns at once."""
    found = [process for process in roots() if process.kind == "request"]
    for process in found:
        process.cancel(reason, by=by, note=note)
    return len(found)


def close_connections() -> None:
    """Close this thread's database connections: the exception may have left one of them half used.

    One whose transaction was interrupted in its last step is forgotten, or it would stay in that transaction. Those
    that a test holds in a transaction of its own stay.
    """
    for connection in connections.all(initialized_only=True):
        if any(getattr(block, "_from_testcase", False) for block in connection.atomic_blocks):
            continue
        stale = connection.in_atomic_block
        with suppress(Exception):
            connection.close()
        if stale:
            del connections[connection.alias]


def _interrupt(process: Process) -> None:
    if isinstance(process, RequestProcess):
        process.interrupt()


def _cancel_tasks_of(thread: int) -> bool:
    """Cancel what the event loop does that works for ``thread`` (an async view under WSGI); whether there is one."""
    for loop, executor in tuple(AsyncToSync.loop_thread_executors.items()):
        if executor._work_thread.ident == thread:
            with suppress(RuntimeError):  # it has just ended
                loop.call_soon_threadsafe(_cancel_all, loop)
                return True
    return False


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
