"""The fork server: a child of the master that has Django set up, forks workers, and reaps them.

It is forked before the master opens a store or an event loop, so its children inherit neither a LevelDB handle nor a
thread. It is single threaded, runs no user code, and only waits: for orders, for the end of a child, for the end of
the master. Being the parent, it alone can kill a worker's whole process group without a race: a child that has ended
keeps its number until it is reaped, and its group is killed before that. Being a child subreaper, it is given what a
dead worker's jobs had started elsewhere, and ends what of it carries that worker's mark. So whatever a handler left
behind ends with the worker, and everything ends with the master (promise P5).

Conversation (JSON in ``SOCK_SEQPACKET``): ``{"spawn": name, "slate": path, "kind": "work"}`` with two descriptors
(socket, tokens), or kind ``sweep`` (the sweeper of the outboxes) with one (socket) →
``{"spawned": name, "pid": …}`` with a pidfd, or ``{"failed": name, "reason": …}``; ``{"kill": pid}``; later
``{"exited": pid, "status": …}``.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import socket
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from django.db import connections

from django_graceful import descendants, stacks
from django_graceful.outbox.sweeper import sweep
from django_graceful.runner import moments
from django_graceful.runner.stopping import QUIET
from django_graceful.runner.worker import prepare_to_serve, work

logger = logging.getLogger("django_graceful.runner")

#: The longest message, in bytes.
MESSAGE = 65_536


def serve(orders: socket.socket, answers: int, mask: Iterable[int]) -> NoReturn:
    """The life of the fork server; ends the process. It tells its stacks, when asked, to the file ``answers``;
    ``mask`` has the signals to be blocked once it has its handlers.
    """
    os.setsid()
    _quiet_signals()
    stacks.answer(answers)
    # Blocked before any fork: a library may start a thread in the child, before its main thread could do it.
    signal.pthread_sigmask(signal.SIG_SETMASK, {*mask, moments.SIGNAL})
    descendants.adopt()
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    connections.close_all()
    prepare_to_serve()
    server = _ForkServer(orders)
    try:
        server.run()
    finally:
        server.end_children()
        os._exit(0)


def _quiet_signals() -> None:
    """The master decides; TERM and INT may reach the whole container or terminal. Handlers, because children inherit
    an ignored signal.
    """
    for number in QUIET:
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGCONT, signal.SIG_DFL)


class _ForkServer:
    def __init__(self, orders: socket.socket) -> None:
        self._orders = orders
        self._children: dict[int, int] = {}  # pidfd → pid
        self._marks: dict[int, str] = {}  # pid → what carries this belongs to it
        self._poll = select.poll()
        self._poll.register(orders, select.POLLIN)

    def run(self) -> None:
        """Until the master is gone."""
        while True:
            for fd, _event in self._poll.poll():
                if fd != self._orders.fileno():
                    self._reap(fd)
                elif not self._obey():
                    return

    def _obey(self) -> bool:
        data, fds, _flags, _address = socket.recv_fds(self._orders, MESSAGE, 2)
        if not data:
            return False
        order = json.loads(data)
        if "kill" in order:
            self._kill(order["kill"])
        else:
            self._spawn(order["spawn"], Path(order["slate"]), fds, order["kind"])
        return True

    def _spawn(self, name: str, slate: Path, fds: list[int], kind: str) -> None:
        parent = os.getpid()
        try:
            mark = descendants.worker_mark(slate.parent.parent, name)
            pid = os.fork()
        except OSError as error:
            self._say({"failed": name, "reason": f"fork: {error}"})
            _close_all(fds)
            return
        if pid == 0:
            self._become_worker(parent, mark, slate, fds, kind)
        with suppress(OSError):  # the child does it too; whoever comes first
            os.setpgid(pid, pid)
        _close_all(fds)
        pidfd = os.pidfd_open(pid)
        self._children[pidfd], self._marks[pid] = pid, mark
        self._poll.register(pidfd, select.POLLIN)
        with suppress(BrokenPipeError, ConnectionError):
            socket.send_fds(self._orders, [json.dumps({"spawned": name, "pid": pid}).encode()], [pidfd])

    def _become_worker(self, parent: int, mark: str, slate: Path, fds: list[int], kind: str) -> NoReturn:
        code = 70
        try:
            os.setpgid(0, 0)
            descendants.die_with(parent)
            self._orders.close()
            _close_all(list(self._children))
            descendants.become(mark)
            descendants.adopt()
            sock = socket.socket(fileno=fds[0])
            code = sweep(sock) if kind == "sweep" else work(sock, fds[1], slate)
        except BaseException:
            logger.critical("worker %s ended with an error of its own", slate.name, exc_info=True)
        finally:
            logging.shutdown()
            with suppress(Exception):
                sys.stdout.flush()
            os._exit(code)

    def _kill(self, pid: int) -> None:
        if pid in self._children.values():
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

    def _reap(self, pidfd: int) -> None:
        pid = self._children.pop(pidfd)
        self._poll.unregister(pidfd)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)  # what it left behind in its group; the number is still its own
        _, status = os.waitpid(pid, 0)
        os.close(pidfd)
        self._sweep([self._marks.pop(pid)])
        self._say({"exited": pid, "status": os.waitstatus_to_exitcode(status)})

    def _say(self, message: dict[str, Any]) -> None:
        with suppress(ConnectionError):
            self._orders.send(json.dumps(message).encode())

    def end_children(self) -> None:
        """Kill and reap every worker with its group."""
        for pid in self._children.values():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        for pid in self._children.values():
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)
        marks = [*self._marks.values()]
        self._marks.clear()
        self._sweep(marks)

    def _sweep(self, marks: list[str]) -> None:
        """End what these dead workers left. It is ours since they died, so mostly one look at our children is all."""
        if self._strangers():
            for mark in marks:
                for pid in descendants.end_marked(mark):
                    logger.error("what a job started does not end: pid %d", pid)
            for pid in self._strangers():
                descendants.reap(pid, 0)

    def _strangers(self) -> list[int]:
        return [pid for pid in descendants.children() if pid not in self._marks]


def _close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
