"""The web servers of this host: which gunicorns there are, what their workers publish, and what ``/proc`` says.

A server is known by its arbiter. Its workers tell the table of nodes who that is, once they have booted; the kernel
says which workers there are. What is gone in the middle of a look is just not there.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from django.core.management.base import CommandError

from django_graceful.descendants import children, is_fork
from django_graceful.nodes import running

Json = dict[str, Any]


class Handle:
    """A hold on a process that lives: its pid can not become another's. A context manager. Raises ``CommandError`` when
    there is no such process.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        try:
            self._fd = os.pidfd_open(pid)
        except (OSError, OverflowError, ValueError):
            raise CommandError(f"there is no process {pid}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def ended(self, seconds: float = 0.0) -> bool:
        """Whether it has ended; waits for that, at most so long."""
        return bool(select.select([self._fd], [], [], seconds)[0])

    def send(self, number: signal.Signals) -> None:
        """Signal it; nothing, when it has ended. Raises ``CommandError`` when it is another user's."""
        try:
            signal.pidfd_send_signal(self._fd, number)
        except ProcessLookupError:
            pass
        except PermissionError:
            raise CommandError(f"process {self.pid} belongs to another user; run this command as that user") from None


@dataclass(slots=True, frozen=True)
class Server:
    """A gunicorn, as its newest worker describes it (:mod:`django_graceful.gunicorn.publishing`)."""

    arbiter: int
    said: Json

    @property
    def name(self) -> str:
        """For people."""
        return f"gunicorn with pid {self.arbiter}"


def look() -> list[Json]:
    """The web nodes of this host, with those that live and do not answer."""
    host = socket.gethostname()
    return [node for node in running() if node.get("silent") or (node.get("kind") == "web" and node["host"] == host)]


def all_servers() -> list[Server]:
    """The gunicorns of this host that have a worker which has booted."""
    found: dict[int, Server] = {}
    for node in look():  # the oldest first
        arbiter = node.get("arbiter")
        if isinstance(arbiter, int) and node["pid"] in children(arbiter):
            found[arbiter] = Server(arbiter, node["server"])
    return list(found.values())


def workers(arbiter: int) -> set[int]:
    """The pids of its workers, those that are still booting too."""
    return {pid for pid in children(arbiter) if is_fork(pid, arbiter)}


def phases(arbiter: int) -> dict[int, str]:
    """The phase of each worker that has booted; empty for one that does not answer just now."""
    own = workers(arbiter)
    return {node["pid"]: str(node.get("phase", "")) for node in look() if node["pid"] in own}


def find_server(pid: int | None, pid_file: str | None) -> Server:
    """The server that is meant: by pid, by pid file, or the only one there is. Raises ``CommandError``, which says what
    there is.
    """
    servers = {server.arbiter: server for server in all_servers()}
    wanted = read_pid(pid_file) if pid_file is not None else pid
    if wanted is None:
        if len(servers) == 1:
            return next(iter(servers.values()))
        several = "; ".join(f"pid {arbiter}: {command_line(arbiter)}" for arbiter in servers)
        raise CommandError(f"there are several servers; name one with --pid. {several}" if servers else _NONE)
    if wanted not in servers:
        with Handle(wanted):
            raise CommandError(f"process {wanted} is no gunicorn whose workers can be seen. {_NONE}")
    return servers[wanted]


_NONE = (
    "No gunicorn is seen on this host that runs with the configuration of django_graceful"
    " (-c python:django_graceful.gunicorn, or install(globals()) in one's own), on a store of these settings, with a"
    " worker that has booted"
)


def read_pid(path: str) -> int:
    """The pid in that file. Raises ``CommandError``."""
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise CommandError(f"there is no pid in {path}: {error}") from None


def command_line(pid: int) -> str:
    """How it was started; empty when it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return ""


def environment(pid: int) -> dict[str, str]:
    """The environment that it was started with. Raises ``OSError``."""
    entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return {os.fsdecode(k): os.fsdecode(v) for k, equals, v in (entry.partition(b"=") for entry in entries) if equals}
