"""Interrupting Python code from outside: where it is, once, and nothing that comes after it.

A :class:`Region` is a stretch of code. While it runs, any other thread may interrupt it: the code gets an exception.
What is on its way when the region ends is taken back, so it never hits what the same thread does next. How the code is
reached depends on where it runs:

- any thread: an asynchronous exception, at the next bytecode; C code that blocks (``time.sleep``) is left first;
- the main thread, after :func:`use_signal`: a signal whose handler raises, which ends ``time.sleep``, a lock or a
  socket call at once;
- a greenlet of gevent: the hub throws the exception into it.

Nothing is installed at import. Everything here may be called in any thread.
"""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol, TypeVar

from django_graceful.exceptions import Cancelled

Result = TypeVar("Result")
Seen = Callable[[], object]

_set_async_exc = ctypes.pythonapi.PyThreadState_SetAsyncExc
_set_async_exc.argtypes = (ctypes.c_ulong, ctypes.py_object)
_NOTHING = ctypes.py_object()

#: Seconds between two signals for the same interrupt.
_KNOCK = 0.02
#: The most seconds for which an interrupt waits while threads are being started.
_BIRTH = 1.0

#: The signal that interrupts the main thread; 0: none was registered.
_signal = 0
#: What runs in the main thread, if its signal can reach it.
_in_main: _MainThread | None = None


def use_signal(number: int) -> None:
    """Interrupt the main thread by that signal from now on; to be called there. Takes the signal's handler.

    A signal that comes when nothing was interrupted changes nothing.
    """
    global _signal
    signal.signal(number, _on_signal)
    _signal = number


def cancelled_as(reason: str, seen: Seen) -> type[Cancelled]:
    """:class:`Cancelled` with its reason inside, because a thread can only be sent a class. ``seen`` is called in that
    thread when the exception has arrived.
    """

    class Told(Cancelled):
        def __init__(self) -> None:
            super().__init__(reason)
            seen()

    Told.__name__ = Told.__qualname__ = "Cancelled"
    return Told


class Region:
    """Code that may be interrupted, in one thread at a time. It may be run many times, never inside itself."""

    def __init__(self) -> None:
        self._way: _Way | None = None
        #: The thread (its identifier) that the code ran in last; 0: none yet.
        self.thread = 0

    @property
    def busy(self) -> bool:
        """Whether its code runs now."""
        return self._way is not None

    def run(self, function: Callable[..., Result], *arguments: Any, **options: Any) -> Result:
        """Call ``function``, which may be interrupted until it has returned."""
        self.thread = threading.get_ident()
        way = self._way = _way_here()
        try:
            return function(*arguments, **options)
        finally:
            try:
                self._close(way)
            except Cancelled as error:
                self._close(way)  # a way sends one exception: no second one comes
                if type(error) is not way.kind:  # somebody else's
                    raise

    def interrupt(self, kind: type[Cancelled]) -> bool:
        """Raise ``kind``, which is called without arguments, in the code that runs now; whether it is on its way.

        False when nothing runs, when it was interrupted before, and in its own thread: that one knows already.
        """
        way = self._way
        return way is not None and way.send(kind)

    def _close(self, way: _Way) -> None:
        self._way = None
        way.close()


class _Way(Protocol):
    """To the code of one run. Both methods are safe against each other."""

    #: What was sent.
    kind: type[Cancelled] | None

    def send(self, kind: type[Cancelled]) -> bool: ...
    def close(self) -> None: ...


def _way_here() -> _Way:
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("threading"):
        return _Greenlet()
    if _signal and threading.current_thread() is threading.main_thread():
        return _MainThread()
    return _Thread()


class _Thread:
    def __init__(self) -> None:
        self.kind: type[Cancelled] | None = None
        self._ident = threading.get_ident()
        self._lock = threading.Lock()
        self._open = True

    def send(self, kind: type[Cancelled]) -> bool:
        if self._ident == threading.get_ident():
            return False
        end = time.monotonic() + _BIRTH
        while True:
            with self._lock:
                if not self._open or self.kind is not None:
                    return False
                if not _births():
                    self.kind = kind
                    _set_async_exc(self._ident, kind)
                    return True
            if time.monotonic() > end:
                return False
            time.sleep(0.001)

    def close(self) -> None:
        with self._lock:
            self._open = False
            if self.kind is not None:
                _set_async_exc(self._ident, _NOTHING)


class _MainThread:
    """Its handler runs in the thread that it interrupts, so the two need no lock, and must not take one."""

    def __init__(self) -> None:
        global _in_main
        self.kind: type[Cancelled] | None = None
        self._over = False
        self._outer = _in_main
        _in_main = self

    def send(self, kind: type[Cancelled]) -> bool:
        if threading.current_thread() is threading.main_thread() or self._over or self.kind is not None:
            return False
        self.kind = kind
        threading.Thread(target=self._knock, name="graceful-interrupt", daemon=True).start()
        return True

    def close(self) -> None:
        global _in_main
        _in_main = self._outer
        self._over = True

    def arrive(self) -> None:
        """In the handler: raise what was sent."""
        if self.kind is not None and not self._over:
            self._over = True
            raise self.kind

    def _knock(self) -> None:
        """A signal that comes just before the thread sleeps does not end that sleep: Python notes it, and C sleeps."""
        main = threading.main_thread().ident
        assert main is not None
        while not self._over:
            signal.pthread_kill(main, _signal)
            time.sleep(_KNOCK)


class _Greenlet:
    """The hub runs in the thread of its greenlets, so a region is either over or still open while it throws."""

    def __init__(self) -> None:
        gevent = sys.modules["gevent"]
        self.kind: type[Cancelled] | None = None
        self._open = True
        self._greenlet = gevent.getcurrent()
        self._loop = gevent.get_hub().loop

    def send(self, kind: type[Cancelled]) -> bool:
        if not self._open or self.kind is not None:
            return False
        self.kind = kind
        self._loop.run_callback_threadsafe(self._throw)
        return True

    def close(self) -> None:
        self._open = False

    def _throw(self) -> None:
        if self._open:
            self._greenlet.throw(self.kind)


def _births() -> bool:
    """Whether a thread is being started just now. Before Python 3.12 it bears its parent's number until it runs, and
    would get an exception that is meant for that one.
    """
    return sys.version_info < (3, 12) and bool(threading._limbo)  # type: ignore[attr-defined]


def _on_signal(number: int, frame: FrameType | None) -> None:
    way = _in_main
    while way is not None:
        way.arrive()
        way = way._outer
