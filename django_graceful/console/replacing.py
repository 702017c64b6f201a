"""Replacing a gunicorn with preloaded code by a new one, which takes its sockets over: USR2, then TERM to the old one.

When the old one has ended, the new one has its pid file, and systemd has been told of the new main process (the old one
does that, see :mod:`django_graceful.gunicorn.arbiter`).
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.core.management.base import CommandError

from django_graceful.conf import get_conf
from django_graceful.console.servers import Handle, Server, all_servers, environment, phases, read_pid, workers
from django_graceful.console.waiting import LEAVING, Stuck, until
from django_graceful.descendants import children

#: Seconds for the new arbiter to be promoted: it looks once a second.
_PROMOTION = 5.0


def replace(
    server: Server, arbiter: Handle, found: dict[str, Any], options: dict[str, Any], say: Callable[[str], None]
) -> None:
    """Fills in ``found``; raises ``Stuck``. Until the new workers have booted, nothing of the old server is touched."""
    if arbiter.pid == 1:
        raise Stuck(
            "gunicorn is process 1 here, and its code is preloaded: replacing it would end the container. Start a new"
            " container before the old one stops, or do without --preload"
        )
    arbiter.send(signal.SIGUSR2)
    pid = until(arbiter, lambda: _successor(arbiter.pid), options["timeout"], "no new gunicorn has started")
    with Handle(pid) as fresh:
        say(f"new gunicorn with pid {pid} has started")
        until(fresh, lambda: _all_booted(pid), options["timeout"], "its workers have not booted; the old ones serve on")
        found.update(how="replaced", server=pid, new=sorted(workers(pid)), sidecar=get_conf().sidecar)
        say(f"its workers have booted; gunicorn with pid {arbiter.pid} stops")
        arbiter.send(signal.SIGTERM)
        if options["wait"]:
            _see_off(server, arbiter, fresh)
    found["left"] = sorted(workers(arbiter.pid))


def _successor(old: int) -> int | None:
    for pid in children(old):
        with suppress(OSError):
            if environment(pid).get("GUNICORN_PID") == str(old):
                return pid
    return None


def _all_booted(pid: int) -> bool:
    """Whether as many workers as it wants have booted; a worker says how many that is."""
    wanted = next((int(one.said["workers"]) for one in all_servers() if one.arbiter == pid), None)
    return wanted is not None and len(phases(pid)) >= wanted


def _see_off(server: Server, arbiter: Handle, fresh: Handle) -> None:
    conf = get_conf()
    limit = float(server.said["graceful_timeout"]) + 2 * LEAVING
    if conf.sidecar:  # its runner has to let go of the store
        limit += conf.hammer_after + conf.kill_after + LEAVING
    until(fresh, arbiter.ended, limit, "the old gunicorn has not ended")
    path = server.said["pid_file"]
    if path is not None:
        until(fresh, lambda: _has(path, fresh.pid), _PROMOTION, f"the new gunicorn has not taken {path} over")


def _has(path: str, pid: int) -> bool:
    with suppress(CommandError):
        return read_pid(path) == pid
    return False
