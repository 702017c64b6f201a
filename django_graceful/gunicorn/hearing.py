"""How a worker hears that it is to stop, whatever its main thread does.

sync, gthread, gevent, tornado: a tap on the wakeup descriptor. C code writes to it, so it works while the main thread
sits in ``waitpid`` and Python's handlers do not run. gunicorn's own descriptor still gets every byte, from our thread.
asgi, uvicorn: asyncio has that descriptor, so the handlers are wrapped.

The handlers only write a byte. All is installed in the main thread of a worker, and undone in the child of a fork
(``multiprocessing``): a signal to such a child would else reach its parent, or nobody.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

from django_graceful.gunicorn.kinds import Kind
from django_graceful.gunicorn.timetable import Cause

CAUSES = {
    int(signal.SIGTERM): Cause.ASKED,
    int(signal.SIGINT): Cause.HURRIED,
    int(signal.SIGQUIT): Cause.HURRIED,
    int(signal.SIGABRT): Cause.BLOCKED,
}
#: What the child of a fork must not inherit.
_INHERITED = (signal.SIGTERM, signal.SIGQUIT, signal.SIGABRT, signal.SIGUSR1, signal.SIGWINCH)

Handler = Callable[[int, FrameType | None], object]


class Ear:
    """A pipe with a byte for each signal that was heard. :meth:`ring` may be called anywhere, in handlers too."""

    def __init__(self) -> None:
        self.fd, self._bell = os.pipe()
        for end in (self.fd, self._bell):
            os.set_blocking(end, False)
        #: Whoever had the wakeup descriptor before; -1: nobody.
        self._before = -1
        self._claims: dict[str, object] = {}

    def ring(self, number: int) -> None:
        """As if that signal had come."""
        with suppress(OSError):
            os.write(self._bell, bytes([number]))

    def tap(self) -> None:
        """Take the wakeup descriptor; :meth:`heard` passes on what comes."""
        self._before = signal.set_wakeup_fd(self._bell, warn_on_full_buffer=False)

    def heard(self) -> list[Cause]:
        """What has come since the last call."""
        try:
            numbers = os.read(self.fd, 4096)
        except BlockingIOError:
            return []
        if self._before >= 0:
            with suppress(OSError):  # its pipe is full, so it wakes anyway; or closed, so nobody sleeps
                os.write(self._before, numbers)
        return [CAUSES[number] for number in numbers if number in CAUSES]

    def claim(self) -> bool:
        """True for the first caller. In one step, because a handler may be interrupted by the next one."""
        mine = object()
        return self._claims.setdefault("hurry", mine) is mine


def listen(worker: Any, kind: Kind, ear: Ear) -> None:
    """Let ``ear`` hear the signals of this worker; in its main thread, after gunicorn has installed its handlers."""
    if kind is Kind.UVICORN:
        _listen_uvicorn(worker, ear)
    elif kind is Kind.ASGI:
        _listen_asgi(worker, ear)
    else:
        ear.tap()
        for hurry in (signal.SIGINT, signal.SIGQUIT):
            _once(hurry, ear)


def _listen_asgi(worker: Any, ear: Ear) -> None:
    """At INT and QUIT it would cancel its tasks within a second, before they could answer. So it stops as at TERM; the
    hammer strikes at once, and our timetable is the limit.
    """

    def hurry() -> None:
        if ear.claim():
            worker.handle_exit_signal()
            worker.cfg.worker_int(worker)

    for hurried in (signal.SIGINT, signal.SIGQUIT):
        worker.loop.add_signal_handler(hurried, hurry)
    for number in CAUSES:
        _wrap(number, ear)


def _wrap(number: int, ear: Ear) -> None:
    theirs: Any = signal.getsignal(number)

    def handler(number: int, frame: FrameType | None) -> None:
        ear.ring(number)
        if callable(theirs):
            theirs(number, frame)

    signal.signal(number, handler)
    signal.siginterrupt(number, False)  # as asyncio had it


def _once(number: int, ear: Ear) -> None:
    """A terminal's Ctrl-C sends INT, and the arbiter QUIT right after it, which would end what the first one does:
    the view that cleans up, in the middle of that. The first one counts, and our timetable limits it.
    """
    theirs: Any = signal.getsignal(number)

    def handler(number: int, frame: FrameType | None) -> None:
        if callable(theirs) and ear.claim():
            theirs(number, frame)

    signal.signal(number, handler)


def _listen_uvicorn(worker: Any, ear: Ear) -> None:
    """uvicorn sends itself the signal again once it has stopped, with the handler of before: when that is the default,
    the worker dies, and neither ``worker_exit`` nor ``atexit`` run. And it ignores QUIT.
    """
    from uvicorn.server import Server

    theirs = Server.handle_exit

    def handle_exit(self: Server, sig: int, frame: FrameType | None) -> None:
        ear.ring(sig)
        theirs(self, sig, frame)

    def hear_quit() -> None:
        import asyncio

        asyncio.get_running_loop().add_signal_handler(signal.SIGQUIT, _quit, worker, ear)

    Server.handle_exit = handle_exit  # type: ignore[method-assign]
    worker._install_sigquit_handler = hear_quit
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, worker.handle_exit)
    signal.signal(signal.SIGABRT, worker.handle_abort)


def _quit(worker: Any, ear: Ear) -> None:
    ear.ring(signal.SIGQUIT)
    if ear.claim():
        worker.cfg.worker_int(worker)
    signal.raise_signal(signal.SIGTERM)  # which it heeds


def unhear() -> None:
    """In the child of a fork: its signals are its own."""
    signal.set_wakeup_fd(-1)
    for number in (*_INHERITED, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
