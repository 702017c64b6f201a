"""Actors with a baton: real code of master and workers in threads of which only one runs at a time, from one yield
point to the next. So every order of their steps can be brought about, and nothing depends on the machine.

The yield points are where the two can meet: what a worker writes on its slate, tokens, messages, and the edges of a
run; what the master reads there and the signals that it sends. :class:`Gone` is SIGKILL: it unwinds the thread, and
what the code would do on its way out has no effect.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django_graceful.runner import link, stopping
from django_graceful.runner.slate import Slate, Word


class Gone(BaseException):
    """This actor was killed."""


class Actor(threading.Thread):
    """A thread that runs when it is told to, until its next :func:`pause`."""

    def __init__(self, name: str, body: Callable[[], Any]) -> None:
        super().__init__(name=name, daemon=True)
        self._body = body
        self._go, self._back = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._back.acquire()
        #: Where it stands, and every place where it stood since the last :meth:`forget`.
        self.trace: list[str] = []
        self._ready: Callable[[], bool] | None = None
        self.dead = False
        self.over = False
        self.error: BaseException | None = None
        self._interrupt: Callable[[], Any] | None = None
        self.start()

    def run(self) -> None:
        self._go.acquire()
        try:
            if not self.dead:
                self._body()
        except Gone:
            pass
        except BaseException as error:
            self.error = error
        self.over = True
        self._back.release()

    @property
    def ready(self) -> bool:
        """Whether it could go on."""
        return not (self.dead or self.over) and (self._ready is None or self._ready())

    def step(self, interrupt: Callable[[], Any] | None = None) -> None:
        """Let it run to its next yield point. ``interrupt`` is called there first, in its thread, as a signal handler
        is; if it raises nothing, the actor stays where it is.
        """
        self._interrupt = interrupt
        self._go.release()
        self._back.acquire()
        if self.error is not None:
            raise self.error

    def unwind(self) -> None:
        """End the thread; what it does on the way has no effect."""
        self.dead = True
        self._ready = None
        while not self.over:
            self.step()
        self.join()

    def pause(self, label: str, ready: Callable[[], bool] | None = None) -> None:
        """A yield point, called in the actor's thread. ``ready``: what the system call would wait for."""
        if self.dead:
            raise Gone
        self.trace.append(label)
        self._ready = ready
        while True:
            self._back.release()
            self._go.acquire()
            if self.dead:
                raise Gone
            act, self._interrupt = self._interrupt, None
            if act is None:
                return
            act()

    def forget(self) -> None:
        """What was before does not matter for what comes."""
        self.trace.clear()


def current() -> Any:
    """The actor that runs."""
    return threading.current_thread()


def pause(label: str, ready: Callable[[], bool] | None = None) -> None:
    """A yield point of the current actor; none elsewhere."""
    actor = threading.current_thread()
    if isinstance(actor, Actor):
        actor.pause(label, ready)


def readable(*files: Any) -> bool:
    """Whether a read of one of them would not block."""
    poll = select.poll()
    for file in files:
        poll.register(file, select.POLLIN)
    return bool(poll.poll(0))


class Words:
    """The words of a slate; writing one is a yield point, and so is what the master reads of the worker's."""

    def __init__(self, words: Any) -> None:
        self._words = words

    def __getitem__(self, word: int) -> int:
        if current().name == "master" and word == Word.FINISHED:
            pause("look at the slate")
        return int(self._words[word])

    def __setitem__(self, word: int, value: int) -> None:
        if word in (Word.STARTED, Word.FINISHED, Word.WISH):
            pause(f"write {Word(word).name}")
        if not getattr(current(), "dead", False):
            self._words[word] = value
            if word in (Word.STARTED, Word.FINISHED):
                current().world.wrote(Word(word), value)

    def release(self) -> None:
        self._words.release()


class PausingSlate(Slate):
    """A slate with yield points."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        super().__init__(path, create=create)
        self.words = Words(self.words)  # type: ignore[assignment]
        if not create:
            current().slate = self

    def lock(self) -> None:
        """As always, but for the pid: nobody is to kill this process."""
        super().lock()
        self.words[Word.PID] = 0


class PausingSocket:
    """A worker's end of the stream."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def fileno(self) -> int:
        return self._sock.fileno()

    def recv(self, size: int, flags: int = 0) -> bytes:
        pause("receive", lambda: readable(self._sock))
        return self._sock.recv(size, flags)

    def sendall(self, data: bytes) -> None:
        pause("send")
        self._sock.sendall(data)


class PausingOS:
    """``os`` for the two ends of the token pipe."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def read(self, fd: int, size: int) -> bytes:
        if current().name == "worker":
            current().forget()  # all that it knows of before is on the slate and in its link
        pause("read tokens")
        return os.read(fd, size)


class PausingSelect:
    """``select`` for a worker that has nothing to do."""

    POLLIN = select.POLLIN

    class poll:
        def __init__(self) -> None:
            self._files: list[Any] = []

        def register(self, file: Any, events: int) -> None:
            self._files.append(file)

        def poll(self) -> list[tuple[int, int]]:
            pause("wait", lambda: readable(*self._files))
            real = select.poll()
            for file in self._files:
                real.register(file, select.POLLIN)
            return real.poll(0)


class PausingLink(link.Link):
    """A link with yield points in its system calls."""

    def __init__(self, sock: Any, tokens: int, slate: Slate) -> None:
        super().__init__(PausingSocket(sock), tokens, slate)  # type: ignore[arg-type]
        current().link = self


class PausingStopper(stopping.Stopper):
    """A stopper with yield points at the edges of a run; the signal comes from the explorer."""

    def __init__(self, slate: Slate) -> None:
        super().__init__(slate)
        current().stopper = self

    def install(self) -> None:
        """There is one process only."""

    def begin(self, execution: int) -> None:
        pause("begin")
        super().begin(execution)

    def end(self) -> None:
        if self._current:
            pause("end")
        super().end()


class SignalSender:
    """``signal`` for the master: what it sends waits until the explorer delivers it."""

    def __init__(self, send: Callable[[int], None]) -> None:
        self._send = send

    def __getattr__(self, name: str) -> Any:
        return getattr(signal, name)

    def pidfd_send_signal(self, pidfd: int, number: int) -> None:
        pause("signal")
        if number == stopping.SIGNAL:
            self._send(pidfd)
