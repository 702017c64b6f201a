"""What the arbiter does: it gives each worker a mark, and ends what a dead worker left.

What a worker starts, in whatever way, carries the worker's mark in its environment, and ends with the worker: also
when the worker was killed, by the kernel for its memory or by gunicorn at the graceful timeout. Only what carries the
mark is ever killed. To outlive its worker, a program must be started without the variable (``DJANGO_GRACEFUL_JOB``).

When the arbiter itself is killed, the workers notice and stop (see :mod:`django_graceful.gunicorn.guard`).
"""

from __future__ import annotations

import atexit
import os
from typing import Any

from django_graceful import descendants
from django_graceful.gunicorn import sidecar
from django_graceful.gunicorn.numbers import misfits
from django_graceful.notify import Notifier

#: Before it, an orphan that ends with code 3 or 4 is taken for a worker that can not boot, and the server stops.
_KNOWS_STRANGERS = (26, 1)
#: Seconds for workers that were killed to be gone.
_PATIENCE = 2.0


class _Arbiter:
    """Of this OS process; a fork's child, which is a worker, reads the mark."""

    pid = 0
    mark = ""


def on_starting(server: Any) -> None:
    """gunicorn's hook, in an arbiter that begins."""
    from gunicorn import version_info

    for text, hint in misfits({name: setting.get() for name, setting in server.cfg.settings.items()}):
        server.log.warning("%s. %s", text, hint)
    _Arbiter.pid, _Arbiter.mark = os.getpid(), descendants.node_mark()
    if version_info[:2] >= _KNOWS_STRANGERS:
        descendants.adopt()
    atexit.register(_at_exit)  # a boot failure at a reload ends the arbiter without on_exit


def worker_mark(worker: Any) -> str:
    """What everything that this worker has started carries."""
    return f"{_Arbiter.mark}:{worker.age}"


def child_exit(server: Any, worker: Any) -> None:
    """gunicorn's hook, in the arbiter: a worker has ended and was reaped."""
    if _Arbiter.mark:
        descendants.end_marked(worker_mark(worker))


def on_exit(server: Any) -> None:
    """gunicorn's hook, in the arbiter: its workers have left, or were sent SIGKILL a moment ago."""
    for pid in list(server.WORKERS):
        descendants.reap(pid, _PATIENCE)
    _at_exit()
    _pass_on(server)
    sidecar.stop()


def _pass_on(server: Any) -> None:
    """To systemd: after USR2 the service's main process is the one that took this one's place."""
    if server.reexec_pid:
        Notifier(dict(os.environ)).main_is(server.reexec_pid)


def _at_exit() -> None:
    if _Arbiter.pid == os.getpid():
        descendants.end_marked(_Arbiter.mark)
