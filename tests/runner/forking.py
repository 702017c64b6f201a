"""Forks each kind of process that this project forks, and holds the child where it has no handlers of its own yet
while signals come: ``python -m tests.runner.forking KIND`` prints what became of it.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django

TERM, INT, HUP, QUIT, USR1 = signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1


def pending(number: int) -> None:
    """Until that signal is there, and blocked."""
    end = time.monotonic() + 10
    while number not in signal.sigpending() and time.monotonic() < end:
        time.sleep(0.001)


def end_of(pid: int) -> int:
    """How it ended; it must not take long, and is killed if it does."""
    end = time.monotonic() + 2
    while time.monotonic() < end:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def job() -> list[int]:
    """Forks of a job's handler are ended by any signal at once, as an ordinary process is."""
    from django_graceful.runner.slate import Slate
    from django_graceful.runner.stopping import Stopper

    gate, door = os.pipe()
    os.register_at_fork(after_in_child=lambda: os.read(gate, 1))  # before those that come later
    Stopper(Slate(Path(tempfile.mkdtemp()) / "one", create=True)).install()
    ends = []
    for number in [TERM, INT, HUP, QUIT, USR1] * 10:
        pid = os.fork()
        if not pid:
            time.sleep(60)
            os._exit(0)
        os.kill(pid, number)
        os.write(door, b"x")
        ends.append(end_of(pid))
    return sorted(set(ends))


def web() -> list[int]:
    """Forks of a gunicorn worker too, whose own handlers do other things."""
    gate, door = os.pipe()
    os.register_at_fork(after_in_child=lambda: os.read(gate, 1))
    from django_graceful.gunicorn import guard

    kept: Any = object()
    guard.install(kept)
    ends = []
    for number in [TERM, INT, QUIT] * 10:
        signal.signal(number, lambda *_: None)
        pid = os.fork()
        if not pid:
            time.sleep(60)
            os._exit(0)
        os.kill(pid, number)
        os.write(door, b"x")
        ends.append(end_of(pid))
    return sorted(set(ends))


def command() -> list[int]:
    """A signal to the supervisor, whose word to the command comes at once: it is no end by a signal."""
    from django_graceful.management import base, child
    from django_graceful.runner.moments import SIGNAL as MOMENT

    real = child.descendants.die_with

    def slow(parent: int) -> None:
        os.kill(parent, TERM)
        pending(MOMENT)
        real(parent)

    child.descendants.die_with = slow
    supervising = os.fork()
    if supervising:
        return [end_of(supervising)]
    base._fork("toil", "toil")
    os._exit(7)


def forkserver() -> list[str]:
    """A TERM that comes before the fork server has handlers does not end it."""
    from django_graceful.runner import forkserver, nursery

    reading, writing = os.pipe()

    def replace(name: str, before: Callable[[], object]) -> None:
        real: Any = getattr(forkserver, name)

        def replaced() -> None:
            before()
            real()

        setattr(forkserver, name, replaced)

    replace("_quiet_signals", lambda: pending(TERM))
    replace("prepare_to_serve", lambda: os.write(writing, b"serves"))
    made = nursery.Nursery()
    os.close(writing)
    os.kill(made.pid, TERM)
    said = os.read(reading, 10).decode()
    made.close()
    return [said]


def sidecar() -> list[int]:
    """TERM to the runner before it is one ends it; the keeper's own handler would have swallowed that."""
    from django_graceful.gunicorn import keeper

    keeper.end_with = lambda parent: os.kill(os.getpid(), TERM)
    one = keeper.Keeper(os.pipe()[0], ["sleep", "60"])
    signal.set_wakeup_fd(one._wake)
    for number in keeper._HEEDED:
        signal.signal(number, lambda *_: None)
    one._word = {"paths": [], "settings": "x", "limit": 1}
    one._start()
    assert one._runner is not None
    return [end_of(one._runner.pid), len(signal.pthread_sigmask(signal.SIG_BLOCK, []))]


if __name__ == "__main__":
    django.setup()
    print(*globals()[sys.argv[1]]())
