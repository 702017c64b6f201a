"""The demo's loop: starts the programs, shows what they say, and stops them one after the other.

Runs in the demo's main thread. Signal handlers only write a byte; the loop acts. The first INT or TERM stops the
programs in order, each when the one before has ended; the second makes them hurry; the third kills them.
"""

from __future__ import annotations

import selectors
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from testproject.demo.children import Child, Program
from testproject.demo.words import ended_words

#: How often the loop looks whether the demo is ready, in seconds.
_LOOK_EVERY = 0.2
_STOPS = (signal.SIGINT, signal.SIGTERM)


class Supervisor:
    """Runs programs until it is told to stop or one of them ends. ``say`` shows a line of a program (None: of ours)."""

    def __init__(self, say: Callable[[Program | None, str], None]) -> None:
        self._say = say
        self._selector = selectors.DefaultSelector()
        self._children: list[Child] = []
        self._stops = 0
        self._failed = False

    def __enter__(self) -> Self:
        """From here on a signal is noted, and acted upon in :meth:`run`."""
        self._bell, self._wake = socket.socketpair()
        for end in (self._bell, self._wake):
            end.setblocking(False)
        self._selector.register(self._bell, selectors.EVENT_READ, self._hear)
        self._before = [signal.signal(number, lambda *_: None) for number in _STOPS]
        signal.set_wakeup_fd(self._wake.fileno())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for child in self._children:
            child.kill()
            if child.code is None:
                child.reap()
            child.close()
        signal.set_wakeup_fd(-1)
        for number, handler in zip(_STOPS, self._before, strict=True):
            signal.signal(number, handler)
        self._selector.close()
        self._bell.close()
        self._wake.close()

    def run(
        self, programs: Sequence[Program], env: Mapping[str, str], ready: Callable[[], bool], opened: Callable[[], None]
    ) -> bool:
        """Start ``programs``, call ``opened`` once ``ready``, go on until all have ended; whether all ended as told.

        They are stopped in the order in which they are given, and started the other way round.
        """
        self._turn(0)
        if self._stops:
            return True
        for program in reversed(programs):
            self._start(program, env)
        while not (self._stops or ready()):
            self._turn(_LOOK_EVERY)
        if not self._stops:
            opened()
        while any(child.code is None for child in self._children):
            self._turn(None)
        return not self._failed

    def _start(self, program: Program, env: Mapping[str, str]) -> None:
        child = Child(program, env)
        self._children.insert(0, child)
        self._selector.register(child.output, selectors.EVENT_READ, lambda: self._show(child))
        self._selector.register(child.pidfd, selectors.EVENT_READ, lambda: self._bury(child))

    def _turn(self, timeout: float | None) -> None:
        for key, _ in self._selector.select(timeout):
            key.data()

    def _show(self, child: Child) -> None:
        if child.silent:  # its end was in the same turn
            return
        for line in child.lines():
            self._say(child.program, line)
        if child.silent:
            self._selector.unregister(child.output)

    def _hear(self) -> None:
        for number in self._bell.recv(64):
            if number in _STOPS:
                self._stop()

    def _stop(self) -> None:
        self._stops += 1
        if self._stops == 1:
            self._say(None, "Stopping. What runs may finish; once more hastens it.")
            self._stop_next()
        elif self._stops == 2:
            self._say(None, "Hastening. Once more kills what is left.")
            for child in self._children:
                if child.told:
                    child.hasten()
        else:
            for child in self._children:
                child.kill()

    def _stop_next(self) -> None:
        child = next((child for child in self._children if child.code is None), None)
        if child is not None and not child.told:
            child.stop()
            if self._stops > 1:
                child.hasten()

    def _bury(self, child: Child) -> None:
        code = child.reap()
        self._selector.unregister(child.pidfd)
        self._show(child)
        self._say(None, ended_words(child.program.name, code, expected=child.told))
        if not child.told:
            self._failed = True
            self._stops = max(1, self._stops)
        self._stop_next()
