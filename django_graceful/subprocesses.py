"""Running commands that end with the work that started them (promise P5).

:func:`run` waits in the calling thread, :func:`arun` in a task, with a thread of its own behind it. Both end the
command, its process group and whatever of it went elsewhere: when it is cancelled or timed out, when any exception
comes by, and, if something is left, when the command has ended by itself. There is never a shell.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from subprocess import PIPE
from typing import IO, Any, TypedDict, Unpack

from django_graceful.captures import Capture, Pipes, close_streams
from django_graceful.conf import get_conf
from django_graceful.exceptions import Cancelled, ProcessFailed, ProcessTimedOut
from django_graceful.families import Family
from django_graceful.lifecycle.countdown import countdown
from django_graceful.masking import mask_command, mask_text, secrets_of
from django_graceful.processes import Process, current_process

#: Bytes that are kept of each stream, unless told otherwise.
MAX_OUTPUT = 10 << 20
#: A wish to stop may stand on a page that wakes nobody (a thread of a job): it is looked for that often, in seconds.
_TICK = 0.05

Word = str | os.PathLike[str]
#: As in :mod:`subprocess`: ``PIPE`` (captured), ``DEVNULL``, ``STDOUT`` (for stderr), a file, or None to inherit.
Target = int | IO[Any] | None


class Options(TypedDict, total=False):
    """What :func:`run` takes by name."""

    #: Seconds until it is ended with :class:`~django_graceful.exceptions.ProcessTimedOut`; None: no limit.
    timeout: float | None
    cwd: Word | None
    #: The whole environment (our mark is added); None: our own.
    env: Mapping[str, str] | None
    #: What it reads; without it, stdin is ``/dev/null``.
    input: str | bytes | None
    stdout: Target
    stderr: Target
    #: Output as ``str``: what is not of ``encoding`` becomes U+FFFD. False: ``bytes``.
    text: bool
    encoding: str
    #: Whether an exit code other than 0 is an error.
    check: bool
    #: Seconds between TERM and KILL. None: ``KILL_AFTER``; in a job that is stopped, half of what its worker has.
    kill_after: float | None
    #: Bytes kept of each stream, the first half and the last.
    max_output: int


def run(argv: Sequence[Word], **options: Unpack[Options]) -> subprocess.CompletedProcess[Any]:
    """Run a command as part of the current process, if there is one, and wait for its end.

    ``argv`` is the program and its arguments, a list; see :class:`Options` for the rest. The result has ``args``,
    ``returncode``, ``stdout`` and ``stderr``. Raises :class:`~django_graceful.exceptions.ProcessFailed` (also its
    kinds ``ProcessTimedOut`` and ``ProcessNotStarted``), and
    :class:`~django_graceful.exceptions.Cancelled` when the process around it is asked to stop; whatever is raised,
    the command and all it started have ended before.
    """
    return execute(argv, current_process(), None, options)


async def arun(argv: Sequence[Word], **options: Unpack[Options]) -> subprocess.CompletedProcess[Any]:
    """:func:`run` for coroutines. When the task is cancelled, the command is ended first."""
    return await execute_async(argv, current_process(), options)


def execute(
    argv: Sequence[Word], process: Process | None, halt: threading.Event | None, options: Options
) -> subprocess.CompletedProcess[Any]:
    """:func:`run` for a given process; ``halt`` cancels it from another thread."""
    order = _Order(_words(argv), **options)
    if process is not None and process.stop is not None:  # not at a safe point of a command: what it does goes on
        process.check()
    return _Run(order, process, halt).run()


async def execute_async(
    argv: Sequence[Word], process: Process | None, options: Options
) -> subprocess.CompletedProcess[Any]:
    """:func:`arun` for a given process."""
    loop, halt = asyncio.get_running_loop(), threading.Event()
    done: asyncio.Future[None] = loop.create_future()
    outcome: list[subprocess.CompletedProcess[Any] | BaseException] = []

    def body() -> None:
        try:
            outcome.append(execute(argv, process, halt, options))
        except BaseException as error:
            outcome.append(error)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(done.set_result, None)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(body,), name="graceful-run").start()
    cancelled: asyncio.CancelledError | None = None
    while not done.done():
        try:
            await asyncio.shield(done)
        except asyncio.CancelledError as error:
            cancelled = cancelled or error
            halt.set()
    result = outcome.pop()
    if cancelled is not None:
        cancelled.__cause__ = result.__cause__ if isinstance(result, Cancelled) else None
        raise cancelled
    if isinstance(result, BaseException):
        raise result
    return result


@dataclass(slots=True, frozen=True)
class _Order:
    argv: list[str]
    timeout: float | None = None
    cwd: Word | None = None
    env: Mapping[str, str] | None = None
    input: str | bytes | None = None
    stdout: Target = PIPE
    stderr: Target = PIPE
    text: bool = True
    encoding: str = "utf-8"
    check: bool = True
    kill_after: float | None = None
    max_output: int = MAX_OUTPUT

    def output(self, capture: Capture | None) -> Any:
        """What the caller gets of a stream."""
        if capture is None:
            return None
        value = capture.value()
        return value.decode(self.encoding, "replace") if self.text else value


class _Run:
    def __init__(self, order: _Order, process: Process | None, halt: threading.Event | None) -> None:
        self._order, self._process, self._halt = order, process, halt
        self._patience = get_conf().kill_after
        self._family = Family(process)
        self._pipes: Pipes | None = None

    def run(self) -> subprocess.CompletedProcess[Any]:
        try:
            return self._attend(self._start())
        except Cancelled as error:
            self._end()
            cause = self._failure(ProcessFailed, "cancelled")
            cause.cancelled = True
            error.__cause__ = cause
            raise
        finally:
            try:
                self._end()
            finally:
                self._close()

    def _start(self) -> Pipes:
        order = self._order
        child = self._family.start(
            order.argv,
            None if order.cwd is None else os.fspath(order.cwd),
            order.env,
            stdin=subprocess.DEVNULL if order.input is None else PIPE,
            stdout=order.stdout,
            stderr=order.stderr,
        )
        if self._process is not None:
            self._process.commands[child.pid] = shlex.join(mask_command(order.argv))
            self._process.show()
        given = order.input.encode(order.encoding) if isinstance(order.input, str) else order.input or b""
        self._pipes = Pipes(child, self._family.pidfd, given, order.max_output)
        return self._pipes

    def _attend(self, pipes: Pipes) -> subprocess.CompletedProcess[Any]:
        """From the start to the end, unless something is raised."""
        order = self._order
        late = not self._wait(pipes, order.timeout)
        self._end()
        if late:
            raise self._failure(ProcessTimedOut, f"timed out after {order.timeout:g} s")
        code = self._code
        if code and order.check:
            raise self._failure(ProcessFailed, f"ended by signal {-code}" if code < 0 else f"exit code {code}")
        return subprocess.CompletedProcess(order.argv, code, order.output(pipes.stdout), order.output(pipes.stderr))

    def _wait(self, pipes: Pipes, timeout: float | None) -> bool:
        """Whether it has ended by itself in time."""
        end = math.inf if timeout is None else time.monotonic() + timeout
        watched = self._process is not None or self._halt is not None
        while not self._family.over:
            self._check()
            left = end - time.monotonic()
            if left <= 0:
                return False
            most = min(left, _TICK) if watched else left
            pipes.move(None if most == math.inf else most)
        return True

    def _check(self) -> None:
        if self._halt is not None and self._halt.is_set():
            raise Cancelled
        if self._process is not None and self._process.stop is not None:
            self._process.check()

    def _end(self) -> None:
        """End what lives of the family, and take its last words."""
        grace = self._order.kill_after
        if grace is None:
            grace = countdown.patience(self._patience) if self._process is None else self._process.patience
        self._family.end(grace, self._linger)
        if self._pipes is not None:
            self._pipes.drain()

    def _close(self) -> None:
        if self._process is not None and self._family.child is not None:
            self._process.commands.pop(self._family.child.pid, None)
        if self._pipes is not None:
            self._pipes.close()
        elif self._family.child is not None:  # a signal came in between
            close_streams(self._family.child)

    def _linger(self, seconds: float) -> None:
        """Let time pass, at most until the leader ends; what it says meanwhile must not block it."""
        if self._pipes is None:
            time.sleep(seconds)
            return
        alive = not self._family.over
        if not alive:
            self._pipes.forget_end()
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and alive != self._family.over:
            self._pipes.move(left)

    @property
    def _code(self) -> int:
        child = self._family.child
        return -signal.SIGKILL if child is None or child.returncode is None else child.returncode

    def _failure(self, kind: type[ProcessFailed], reason: str) -> ProcessFailed:
        argv = self._order.argv
        secrets = secrets_of(argv)
        captures = (None, None) if self._pipes is None else (self._pipes.stdout, self._pipes.stderr)
        out, err = (
            mask_text(capture.value().decode(self._order.encoding, "replace"), secrets) if capture else ""
            for capture in captures
        )
        return kind(mask_command(argv), reason, self._code, out, err)


def _words(argv: Sequence[Word]) -> list[str]:
    if isinstance(argv, str | bytes | os.PathLike):
        raise TypeError(f"argv must be a list, the program and its arguments, not {argv!r}: there is no shell")
    words = [os.fspath(word) for word in argv]
    wrong = next((word for word in words if not isinstance(word, str)), None)
    if wrong is not None:
        raise TypeError(f"argv must be a list of str and paths; {wrong!r} is neither")
    if not words:
        raise ValueError("argv is empty: its first word is the program")
    return words
