"""Asking many nodes at once: one request, all sockets together, one time limit. Sends one frame and reads one.

Nobody is waited for longer than the limit, whatever the others do: a frozen node costs its own answer.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from django_graceful.stores.leveldb.control import CREDENTIALS, LENGTH
from django_graceful.stores.leveldb.wake import short_path


@dataclass(slots=True)
class Answer:
    """What came of asking one socket."""

    #: What it said; None: nothing, or not all of it.
    body: bytes | None = None
    #: Nobody listens there any more.
    dead: bool = False
    #: The node's pid as we see it; None when it could not be told.
    pid: int | None = None


class _Call:
    def __init__(self, path: Path, request: bytes, answer: Answer) -> None:
        self.answer = answer
        self._words = memoryview(LENGTH.pack(len(request)) + request)
        self._heard = bytearray()
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            self.sock.connect(str(path))
            raw = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
            answer.pid = CREDENTIALS.unpack(raw)[0] or None
        except BaseException:
            self.sock.close()
            raise

    @property
    def wants(self) -> int:
        return select.POLLOUT if self._words else select.POLLIN

    def move(self) -> bool:
        """Go on without waiting; False when it is over."""
        try:
            if self._words:
                self._words = self._words[self.sock.send(self._words) :]
                return True
            part = self.sock.recv(1 << 18)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._heard += part
        if len(self._heard) >= LENGTH.size:
            end = LENGTH.size + LENGTH.unpack_from(self._heard)[0]
            if len(self._heard) >= end:
                self.answer.body = bytes(self._heard[LENGTH.size : end])
                return False
        return bool(part)


def ask_all(directory: Path, names: Iterable[str], request: bytes, seconds: float) -> dict[str, Answer]:
    """Ask each of these sockets below ``directory``; what came of it, by name. Names that are not there are left out.

    Takes at most ``seconds``. Raises ``OSError`` when the directory can not be entered.
    """
    answers: dict[str, Answer] = {}
    calls: dict[int, _Call] = {}
    try:
        with short_path(directory) as short:
            for name in names:
                answer = answers[name] = Answer()
                try:
                    call = _Call(short / name, request, answer)
                except (FileNotFoundError, NotADirectoryError):
                    del answers[name]
                except ConnectionRefusedError:
                    answer.dead = True
                except OSError:  # it does not take calls (its queue of them is full), or not ours
                    continue
                else:
                    calls[call.sock.fileno()] = call
        _converse(calls, time.monotonic() + seconds)
    finally:
        for call in calls.values():
            call.sock.close()
    return answers


def _converse(calls: dict[int, _Call], end: float) -> None:
    poll = select.poll()
    for fd, call in calls.items():
        poll.register(fd, call.wants)
    while calls and (left := end - time.monotonic()) > 0:
        for fd, _ in poll.poll(left * 1000):
            call = calls[fd]
            if call.move():
                poll.modify(fd, call.wants)
            else:
                poll.unregister(fd)
                calls.pop(fd).sock.close()
