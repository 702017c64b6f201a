"""Words to systemd (``sd_notify``): ready, reloading, stopping, status, alive. Without ``NOTIFY_SOCKET``, nothing.

A word is one datagram and never blocks or fails: a manager that does not listen is none of our worries. The variables
are taken out of the environment, so no child is mistaken for the service, and put back for a re-exec.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping
from contextlib import suppress

_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Notifier:
    """The service manager of this process, if it has one. ``environ`` loses the variables of the protocol."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        self._environ = environ
        self._taken = {name: environ.pop(name) for name in _VARIABLES if name in environ}
        self._address = _address(self._taken.get("NOTIFY_SOCKET", ""))
        self._status = ""

    def __bool__(self) -> bool:
        """Whether anybody listens."""
        return bool(self._address)

    @property
    def watchdog(self) -> float | None:
        """Seconds within which :meth:`alive` must be said again and again; None when nobody watches this process."""
        try:
            pid, microseconds = self._taken.get("WATCHDOG_PID"), int(self._taken.get("WATCHDOG_USEC", "0"))
        except ValueError:
            return None
        if not self or microseconds <= 0 or (pid is not None and pid != str(os.getpid())):
            return None
        return microseconds / 1e6

    def ready(self) -> None:
        """It serves. The main process is this one, also after it has started again in place."""
        self._send("READY=1", f"MAINPID={os.getpid()}")

    def main_is(self, pid: int) -> None:
        """The main process of the service is that one from now on; to be said by the one that still is."""
        self._send(f"MAINPID={pid}")

    def reloading(self) -> None:
        """It will start again in place; :meth:`ready` ends that."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """It is ending."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for people; sent when it differs from the last one."""
        if text != self._status:
            self._status = text
            self._send(f"STATUS={text}")

    def alive(self) -> None:
        """It is not stuck."""
        if self.watchdog is not None:
            self._send("WATCHDOG=1")

    def put_back(self) -> None:
        """Give the environment its variables back, for a program that takes the place of this one."""
        self._environ.update(self._taken)

    def _send(self, *lines: str) -> None:
        if self._address:
            with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
                sock.sendto("\n".join(lines).encode(), self._address)


def _address(named: str) -> str:
    """The address for the socket module; a leading ``@`` is an abstract one. Others than Unix sockets are not ours."""
    if named.startswith("@"):
        return "\0" + named[1:]
    return named if named.startswith("/") else ""
