"""What stands in for the kernel in a world (:mod:`tests.cancel.world`): loop, clocks, slates in memory, and the edges
of the modules under test.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from itertools import count
from types import NoneType, SimpleNamespace
from typing import Any
from unittest import mock

from django_graceful.runner import executing, handing, handle, hands, link, pump, wishes, worker
from django_graceful.runner.slate import SlateDirectory
from tests.cancel import actors
from tests.cancel.actors import current, pause

#: When every world begins, in seconds since the epoch.
START = 1_700_000_000.0
#: How the names of directories in shared memory begin.
PREFIX = "graceful-box-"


class Loop:
    """What master, pump and handles need of an event loop: the explorer says when it takes its next callback."""

    def __init__(self) -> None:
        self.callbacks: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self.readers: dict[Any, Callable[..., Any]] = {}
        self.writers: dict[Any, Callable[..., Any]] = {}
        self.timer: Callable[[], Any] | None = None

    def call_soon(self, act: Callable[..., Any], *arguments: Any) -> None:
        self.callbacks.append((act, arguments))

    def call_later(self, delay: float, act: Callable[..., Any]) -> Loop:
        if delay <= 0:
            self.call_soon(act)
        else:
            self.timer = act
        return self

    def cancel(self) -> None:
        self.timer = None

    def add_reader(self, file: Any, act: Callable[..., Any], *arguments: Any) -> None:
        self.readers[file] = act

    def remove_reader(self, file: Any) -> None:
        self.readers.pop(file, None)

    def add_writer(self, file: Any, act: Callable[..., Any]) -> None:
        self.writers[file] = act

    def remove_writer(self, file: Any) -> None:
        self.writers.pop(file, None)

    def waiting(self) -> bool:
        return bool(self.callbacks or self.writers) or any(actors.readable(file) for file in self.readers)

    def run(self) -> None:
        """The life of the master."""
        asyncio._set_running_loop(self)  # type: ignore[arg-type]
        while True:
            current().forget()
            pause("loop", self.waiting)
            if not self.callbacks:
                self.callbacks.extend((act, ()) for file, act in self.readers.items() if actors.readable(file))
                self.callbacks.extend((act, ()) for act in self.writers.values())
            act, arguments = self.callbacks.popleft()
            act(*arguments)


class Time:
    """``time`` for everybody in the box."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def monotonic_ns(self) -> int:
        return int(self.now * 1e9)

    def time(self) -> float:
        return START + self.now

    def time_ns(self) -> int:
        return int(self.time() * 1e9)


class Log:
    """The pump's logger; an exception is a fault of the runner."""

    def __init__(self, errors: list[str]) -> None:
        self.error = self.warning = self.info = lambda *arguments: None
        self.exception = lambda *arguments: errors.append(traceback.format_exc())


def install(time: Time, send: Callable[[int], None], errors: list[str]) -> None:
    """Put a world's clock, system calls and edges into the modules under test. ``send`` gets pidfds to be signalled."""
    for module in _TIMED:
        module.time = time
    hands.os = link.os = actors.PausingOS()  # type: ignore[attr-defined]
    handle.signal = actors.SignalSender(send)  # type: ignore[attr-defined]
    handing._names = count(1)
    pump.logger = Log(errors)  # type: ignore[assignment]


#: Modules that look at clocks.
_TIMED: tuple[Any, ...] = (executing, handing, hands, handle, link, pump, wishes, worker)
#: What is put in the place of what, for all worlds.
_EDGES: list[tuple[Any, str, Any]] = [
    (link, "select", actors.PausingSelect),
    (worker, "Slate", actors.PausingSlate),
    (worker, "Link", actors.PausingLink),
    (worker, "Stopper", actors.PausingStopper),
    (worker, "Moments", mock.MagicMock()),
    (worker, "stacks", mock.MagicMock()),
    (handle, "descendants", mock.MagicMock()),
    (executing, "random", SimpleNamespace(random=lambda: 0.5)),
]


@contextmanager
def boxed_in() -> Iterator[None]:
    """Worlds may be made here; the modules under test are as before afterwards."""
    restored = [(module, name, getattr(module, name)) for module, name, _ in _EDGES]
    restored += [(module, "time", module.time) for module in _TIMED]
    restored += [(hands, "os", hands.os), (link, "os", link.os), (handle, "signal", handle.signal)]
    restored += [(handing, "_names", handing._names), (pump, "logger", pump.logger)]
    logging.disable(logging.CRITICAL)
    try:
        for module, name, edge in _EDGES:
            setattr(module, name, edge)
        yield
    finally:
        logging.disable(logging.NOTSET)
        for module, name, before in restored:
            setattr(module, name, before)


def mind(thing: Any) -> list[tuple[str, str]]:
    """What a part of the runner remembers, as far as it is made of plain values; without what replays change."""
    return [
        (name, repr(value))
        for name, value in vars(thing).items()
        if isinstance(value, _PLAIN) and name not in _NUMBERS and " at 0x" not in repr(value)
    ]


_PLAIN = (int, str, bytes, bytearray, float, tuple, list, deque, dict, set, Enum, NoneType)
#: Descriptors.
_NUMBERS = {"_pidfd", "tokens", "_tokens_w"}


class Slates(SlateDirectory):
    """Slates with yield points."""

    def create(self, name: str) -> Any:
        return actors.PausingSlate(self.path / name, create=True)
