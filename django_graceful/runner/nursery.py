"""The master's end of the fork server: start it, order workers, hear of their end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from django_graceful import stacks
from django_graceful.runner.forkserver import MESSAGE, serve
from django_graceful.runner.stopping import QUIET


class Child(Protocol):
    """Who is told what becomes of an ordered worker."""

    def spawned(self, pid: int, pidfd: int) -> None:
        """The process exists; the pidfd is the child's to close."""

    def exited(self, status: int) -> None:
        """The process is gone and reaped, its group killed; or the fork server is, and it lives for a moment yet.
        ``status``: exit code, or minus the signal's number.
        """


class Nursery:
    """Makes worker processes. Construct it before any store is opened and before the event loop exists."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._stacks = os.memfd_create("stacks", os.MFD_CLOEXEC)
        # Until the child has handlers of its own: those that it inherits are the master's.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [*QUIET, stacks.SIGNAL])
        self.pid = os.fork()
        if self.pid == 0:
            ours.close()
            serve(theirs, self._stacks, mask)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()
        ours.setblocking(False)
        self._orders = ours
        #: False once the fork server has ended by itself.
        self.alive = True
        self._waiting: dict[str, Child] = {}
        self._children: dict[int, Child] = {}
        self._lost: Callable[[], None] | None = None

    def listen(self, lost: Callable[[], None]) -> None:
        """Hear the fork server in the running loop; ``lost`` is called once if it ends by itself."""
        self._lost = lost
        asyncio.get_running_loop().add_reader(self._orders, self._hear)

    def spawn(self, name: str, slate: Path, fds: list[int], child: Child, kind: str = "work") -> None:
        """Order a worker, or a sweeper (``kind``: "sweep"), with these descriptors (copied; the caller closes its own).

        When the fork server is gone the child hears that it has exited.
        """
        self._waiting[name] = child
        with suppress(OSError):  # its end is told by the end of the stream
            socket.send_fds(
                self._orders, [json.dumps({"spawn": name, "slate": str(slate), "kind": kind}).encode()], fds
            )

    def kill(self, pid: int) -> None:
        """SIGKILL to the worker's process group, unless it is gone."""
        with suppress(OSError):
            self._orders.send(json.dumps({"kill": pid}).encode())

    async def stacks(self) -> str:
        """The stacks of the fork server, as :func:`django_graceful.stacks.ask` gives them."""
        return await stacks.ask(f"/proc/self/fd/{self._stacks}", lambda: os.kill(self.pid, stacks.SIGNAL))

    def _hear(self) -> None:
        while True:
            try:
                data, fds, _flags, _address = socket.recv_fds(self._orders, MESSAGE, 1)
            except BlockingIOError:
                return
            except OSError:
                data, fds = b"", []
            if not data:
                asyncio.get_running_loop().remove_reader(self._orders)
                self._all_gone()
                return
            self._take(json.loads(data), fds)

    def _take(self, message: dict[str, object], fds: list[int]) -> None:
        if "spawned" in message:
            child = self._waiting.pop(str(message["spawned"]))
            pid = int(str(message["pid"]))
            self._children[pid] = child
            child.spawned(pid, fds[0])
        elif "exited" in message:
            self._children.pop(int(str(message["exited"]))).exited(int(str(message["status"])))
        else:
            self._waiting.pop(str(message["failed"])).exited(-signal.SIGABRT)

    def _all_gone(self) -> None:
        """The fork server is gone, and every worker follows (parent-death signal): in a moment, since the kernel closes
        the sockets of a process before it tells the children.
        """
        self.alive = False
        children = [*self._waiting.values(), *self._children.values()]
        self._waiting.clear()
        self._children.clear()
        for child in children:
            child.exited(-signal.SIGKILL)
        if self._lost is not None:
            self._lost()

    def close(self, patience: float = 5.0) -> None:
        """Let the fork server end, and wait for it: at most ``patience`` seconds, then SIGKILL."""
        self._lost = None
        self._orders.close()
        os.close(self._stacks)
        end = time.monotonic() + patience
        while True:
            try:
                if os.waitpid(self.pid, os.WNOHANG)[0]:
                    return
            except ChildProcessError:
                return
            if time.monotonic() > end:
                os.kill(self.pid, signal.SIGKILL)
                end += patience
            time.sleep(0.002)
