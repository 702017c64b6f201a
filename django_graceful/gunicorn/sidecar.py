"""``GRACEFUL["SIDECAR"] = True``: gunicorn runs ``runqueues`` beside its workers, so that one command runs the site.

The arbiter starts a *keeper* (:mod:`~django_graceful.gunicorn.keeper`), which is a program of its own: the arbiter gets
no thread, and its habit of reaping every child harms nobody. The arbiter does not know the site's settings, so the
first worker that has booted tells the keeper, through a pipe, whether a runner is wanted and with which settings; when
it is not, the keeper ends.

A reload (HUP) makes the runner start again with the new code, and touches no request. At the end the workers leave
first, because they push; then the runner stops, within its own limits. A signal meanwhile hastens it. When the arbiter
is killed, the kernel tells the keeper, and the runner stops as gracefully as ever.
"""

from __future__ import annotations

import json
import mmap
import os
import select
import signal
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from django_graceful.conf import Conf, get_conf

#: Seconds beyond the runner's limits in which the keeper ends: its own margin, and one more.
_MARGIN = 4.0
#: Promise P4: the runner ends that long after the last of its own limits, whatever its jobs do.
_BEYOND = 5.0
_LIMIT = struct.Struct("d")
_PROGRAM = str(Path(__file__).with_name("keeper.py"))


class _Keeper:
    """What the arbiter has of it; a worker inherits the pipe's end and the page."""

    pid = 0
    #: Readable when it has ended; -1: there was never one.
    pidfd = -1
    #: Where workers tell what they know.
    words = -1
    #: Shared with the workers: the runner's limit, in seconds.
    page: mmap.mmap | None = None


def when_ready(server: Any) -> None:
    """gunicorn's hook, in the main thread of the arbiter: the keeper begins, and waits for a word. When
    the system has no room for it, the site serves without, and the log says so.
    """
    _drop()
    try:
        _start()
    except OSError as error:
        server.log.error("the sidecar can not be started: %s", error)


def _start() -> None:
    _Keeper.page = _Keeper.page or mmap.mmap(-1, _LIMIT.size)
    listening, _Keeper.words = os.pipe()
    os.set_blocking(_Keeper.words, False)
    # A signal that comes before the keeper can heed it must not end it, so it waits.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
    try:
        keeper = subprocess.Popen(
            [sys.executable, "-I", _PROGRAM, str(os.getpid()), str(listening), *_command()],
            stdin=subprocess.DEVNULL,
            pass_fds=[listening],
            start_new_session=True,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(listening)
    keeper.returncode = 0  # gunicorn reaps it: nobody shall wait for it, or miss it
    _Keeper.pid, _Keeper.pidfd = keeper.pid, os.pidfd_open(keeper.pid)


def _command() -> list[str]:
    return [sys.executable, "-m", "django", "runqueues", "--wait"]


def on_reload(server: Any) -> None:
    """gunicorn's hook, in the arbiter: the runner starts again, with new code. A site that had no sidecar
    may want one now.
    """
    if alive():
        _send(signal.SIGHUP)
    else:
        when_ready(server)


def stop() -> None:
    """In the arbiter, when its workers have left: stop the runner and wait for its end, which has a limit. A signal to
    stop that comes meanwhile hastens it.
    """
    if not alive() or _Keeper.page is None:
        return
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, lambda *_: _send(signal.SIGTERM))
    _send(signal.SIGTERM)
    (limit,) = _LIMIT.unpack(_Keeper.page[: _LIMIT.size])
    if not select.select([_Keeper.pidfd], [], [], limit + _MARGIN)[0]:
        _send(signal.SIGKILL)


def tell(worker: Any) -> None:
    """In a worker that has booted: say what the site's settings want."""
    if _Keeper.words < 0 or _Keeper.page is None:
        return
    conf = _conf()
    limit = conf.hammer_after + conf.kill_after + _BEYOND
    _Keeper.page[: _LIMIT.size] = _LIMIT.pack(limit)
    paths = [worker.cfg.chdir, *(os.path.abspath(path) for path in (worker.cfg.pythonpath or "").split(",") if path)]
    settings = os.environ.get("DJANGO_SETTINGS_MODULE", "")
    if conf.sidecar and not settings:
        worker.log.error("no sidecar: DJANGO_SETTINGS_MODULE, which runqueues needs, is not set")
    word = {"wanted": conf.sidecar and bool(settings), "settings": settings, "paths": paths, "limit": limit}
    with suppress(OSError):  # it has ended
        os.write(_Keeper.words, json.dumps(word).encode() + b"\n")
    os.close(_Keeper.words)
    _Keeper.words = -1


def keeper_pid() -> int | None:
    """The keeper's pid, if one was started."""
    return _Keeper.pid or None


def alive() -> bool:
    """Whether there is a keeper."""
    return _Keeper.pidfd >= 0 and not select.select([_Keeper.pidfd], [], [], 0)[0]


def _conf() -> Conf:
    try:
        return get_conf()
    except ImproperlyConfigured:  # the log says so elsewhere
        return Conf()


def _send(number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(_Keeper.pidfd, number)


def _drop() -> None:
    for descriptor in (_Keeper.pidfd, _Keeper.words):
        if descriptor >= 0:
            os.close(descriptor)
    _Keeper.pid, _Keeper.pidfd, _Keeper.words = 0, -1, -1
