"""A family: one subprocess, its process group, and everything that carries its mark; it ends as one (promise P5).

The subprocess leads a session of its own and has the parent-death signal SIGKILL. That signal comes when the *thread*
that forked it ends; whoever starts a family stays with it until it is over, so thread and family share their fate. It
is set by ``setpriv`` (util-linux), or where that is missing by a small Python, because code between fork and exec
(``preexec_fn``) can deadlock in a process with threads. A program with set-uid bits loses it; and who is killed in
the millisecond before it is set leaves a child that only its mark tells of (a runner and gunicorn's arbiter sweep for
it).

The leader is reaped last: until then the group's number is its own and can be signalled without a race.
"""

from __future__ import annotations

import logging
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from django_graceful import descendants
from django_graceful.exceptions import ProcessNotStarted
from django_graceful.masking import mask_command

if TYPE_CHECKING:
    from django_graceful.processes import Process

logger = logging.getLogger("django_graceful.processes")

#: Families that have not ended.
_open: set[Family] = set()
#: Seconds that a process which has lost its environment takes to become a zombie.
_ENDING = 0.1

_PYTHON = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
try:
    os.execvp(sys.argv[1], sys.argv[1:])
except OSError as error:
    sys.exit(f"{sys.argv[1]}: {error.strerror}")
"""


@cache
def _launcher() -> tuple[str, ...]:
    """What runs a command with the parent-death signal set."""
    setpriv = shutil.which("setpriv", path=f"{os.environ.get('PATH', '')}:{os.defpath}")
    if setpriv is not None:
        command = (setpriv, "--pdeathsig", "KILL", "--")
        if not subprocess.run([*command, setpriv, "--version"], capture_output=True, check=False).returncode:
            return command
    return (sys.executable, "-I", "-S", "-c", _PYTHON)


class Family:
    """Make it, :meth:`start` it, and :meth:`end` it whatever happens. Thread safe.

    ``process`` is the piece of work that it belongs to.
    """

    def __init__(self, process: Process | None = None) -> None:
        self._process = process
        #: The leader, once started.
        self.child: subprocess.Popen[bytes] | None = None
        #: Readable when the leader has ended.
        self.pidfd = -1
        self._mark = descendants.fresh_mark()
        self._lock = threading.Lock()
        self._ended = False
        self._told: set[int] = set()  # what carries the mark, and has been asked to end
        self._others: set[int] | None = None  # children of before, where only this family can bring new ones

    def start(
        self, argv: Sequence[str], cwd: str | None, env: Mapping[str, str] | None, **streams: Any
    ) -> subprocess.Popen[bytes]:
        """Start the leader. Raises :class:`~django_graceful.exceptions.ProcessNotStarted`."""
        obstacle = _obstacle(argv[0], cwd, env)
        if obstacle:
            raise ProcessNotStarted(mask_command(argv), f"can not be started: {obstacle}")
        marked = descendants.environment(self._mark, env)
        if descendants.adopting() and threading.active_count() == 1:
            self._others = set(descendants.children())
        try:
            child = subprocess.Popen(
                [*_launcher(), *argv], cwd=cwd, env=marked, bufsize=0, start_new_session=True, **streams
            )
            self.pidfd = os.pidfd_open(child.pid)
            self.child = child
            _open.add(self)
        except OSError as error:
            raise ProcessNotStarted(mask_command(argv), f"can not be started: {error.strerror or error}") from error
        except BaseException:  # a signal in the middle of it: the child may live, and only its mark is known
            descendants.end_marked(self._mark)
            raise
        return child

    def below(self, process: Process) -> bool:
        """Whether it belongs to ``process``, or to one below it."""
        owner = self._process
        while owner is not None and owner is not process:
            owner = owner.parent
        return owner is process

    @property
    def over(self) -> bool:
        """Whether the leader has ended; others may live."""
        return self._ended or _readable(self.pidfd, 0)

    def end(self, grace: float, wait: Callable[[float], None] = time.sleep) -> None:
        """End all that lives of it: TERM, and after ``grace`` seconds KILL; returns when it is gone and reaped.

        ``wait`` lets up to that many seconds pass. When it raises, the rest is killed at once. Where the leader has
        ended by itself and left nothing, this costs one look.
        """
        with self._lock:
            if self._ended or self.child is None:
                return
            leader, more = self.child.pid, True
            try:
                more = not self._alone(leader) and (self._ask(leader, grace, wait) or descendants.adopting())
            finally:
                _signal_group(leader, signal.SIGKILL)
                if more:
                    self._sweep(leader)
                self._reap(self.child)

    def _alone(self, leader: int) -> bool:
        """Whether nothing is left but the leader, which has ended; known for sure by a child subreaper only."""
        return self.over and descendants.adopting() and descendants.children() == [leader]

    def _ask(self, leader: int, grace: float, wait: Callable[[float], None]) -> bool:
        """TERM, and wait until it is over or the time is; whether anything was there that carries the mark."""
        end = time.monotonic() + grace
        pause = 0.005
        _signal_group(leader, signal.SIGTERM)
        while True:
            found = descendants.find_marked(self._mark)
            if self.over and not found:
                return bool(self._told)
            for pid in found:
                if pid not in self._told and _group(pid) != leader:
                    descendants.send(pid, signal.SIGTERM, self._mark)
            self._told.update(found)
            left = end - time.monotonic()
            if left <= 0:
                return True
            wait(min(left, pause))
            pause = min(0.1, pause * 2)

    def _sweep(self, leader: int) -> None:
        """Kill what left the group, and reap what became our child."""
        left = descendants.end_marked(self._mark, spare=leader)
        if left:
            logger.error("what a subprocess (pid %d) started does not end: pids %s", leader, left)
        if descendants.adopting():
            for pid in set(descendants.children()) - {leader}:
                if pid in self._told or _group(pid) == leader:
                    descendants.reap(pid)
                elif self._others is not None and pid not in self._others:
                    descendants.reap(pid, _ENDING)  # of this family, and ended before anybody saw its mark

    def _reap(self, child: subprocess.Popen[bytes]) -> None:
        if _readable(self.pidfd, descendants.PATIENCE):
            child.wait()
            descendants.await_group(child.pid)
        else:
            logger.error("a subprocess (pid %d) hangs in the kernel; not even SIGKILL ends it", child.pid)
        self._ended = True
        _open.discard(self)
        os.close(self.pidfd)


def end_all(grace: float, process: Process | None = None) -> None:
    """End every family that this OS process has, for instance those of threads that a job did not wait for.

    With ``process``: only those that belong to it, or to a process below it.
    """
    for family in tuple(_open):
        if process is None or family.below(process):
            family.end(grace)


def asked() -> set[int]:
    """The pids that families which have not ended have asked to end."""
    return {pid for family in tuple(_open) for pid in frozenset(family._told)}


def any_left() -> bool:
    """Whether a family of this process has not ended. Costs nothing."""
    return bool(_open)


def _signal_group(leader: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def _readable(fd: int, seconds: float) -> bool:
    waiting = select.poll()
    waiting.register(fd, select.POLLIN)
    return bool(waiting.poll(seconds * 1000))


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except OSError:
        return -1


def _obstacle(program: str, cwd: str | None, env: Mapping[str, str] | None) -> str:
    """Why it can not be started, in words; the launcher would only say it in its own."""
    if cwd is not None and not os.path.isdir(cwd):
        return f"there is no directory {cwd!r}"
    path = (os.environ if env is None else env).get("PATH", os.defpath)
    place = os.path.join(cwd or "", program) if os.sep in program else program
    if shutil.which(place, path=path) is not None:
        return ""
    if os.sep not in program:
        return f"there is no {program!r} in {path}"
    return f"{program!r} can not be executed" if os.path.exists(place) else f"there is no {program!r}"


os.register_at_fork(after_in_child=_open.clear)
