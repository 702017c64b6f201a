"""The one thread with which a node hears what others ask of it, over all the sockets that it serves.

Requests and answers are framed as on the control socket. Whoever is slow, silent or sends garbage costs one connection
and no time. The thread exists while something is served, takes no signal, and is a native one under gevent too, so a
busy event loop or a view that blocks in a greenlet keeps nobody waiting. The child of a fork lets go of all of it.
"""

from __future__ import annotations

import logging
import os
import select
import time
from _socket import socket
from collections.abc import Callable
from typing import Any, Final

from django_graceful.native import Thread, original
from django_graceful.stores.leveldb.control import LENGTH

logger = logging.getLogger("django_graceful.nodes")

#: Peers that are served at the same time, and the seconds that each may take.
MAX_PEERS: Final = 64
PATIENCE: Final = 2.0
#: The longest request, in bytes.
MAX_REQUEST: Final = 1 << 20
#: Seconds to wait when no descriptor is free.
_PAUSE: Final = 0.1

#: Why a peer may not ask (empty: it may), and the answer to a request: JSON, both.
Refuse = Callable[[Any], str]
Answer = Callable[[bytes], bytes]


class Door:
    """A listening socket, who may ask there, and who answers."""

    def __init__(self, listener: socket, refuse: Refuse, answer: Answer) -> None:
        self.listener, self.refuse, self.answer = listener, refuse, answer


class _Peer:
    def __init__(self, sock: socket, answer: Answer) -> None:
        self.sock, self._answer = sock, answer
        self.end = time.monotonic() + PATIENCE
        self.wants = select.POLLIN
        self._heard = b""
        self._words = memoryview(b"")

    def move(self) -> bool:
        """Go on as far as it goes without waiting; False when it is over."""
        try:
            if self.wants == select.POLLIN:
                part = self.sock.recv(1 << 16)
                self._heard += part
                if not part or not self._heed():
                    return bool(part)
            self._words = self._words[self.sock.send(self._words) :]
        except BlockingIOError:
            return True
        except OSError:
            return False
        return bool(self._words)

    def _heed(self) -> bool:
        """Whether the request is there, and answered."""
        if len(self._heard) < LENGTH.size:
            return False
        (length,) = LENGTH.unpack_from(self._heard)
        if length > MAX_REQUEST:
            raise ConnectionAbortedError
        if len(self._heard) < LENGTH.size + length:
            return False
        said = self._answer(self._heard[LENGTH.size : LENGTH.size + length])
        self._words = memoryview(LENGTH.pack(len(said)) + said)
        self.wants = select.POLLOUT
        return True


class Hearing:
    """Serves doors until it is closed."""

    def __init__(self) -> None:
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._doors: dict[int, Door] = {}
        self._peers: dict[int, _Peer] = {}
        self._over = self._disowned = False
        try:
            self._thread = Thread(self._serve)
        except (RuntimeError, OSError):
            os.close(self._bell)
            raise
        except BaseException:  # a job was interrupted just here: the thread may run, and is the one to close things
            self._disowned = self._over = True
            os.eventfd_write(self._bell, 1)
            raise

    def open(self, door: Door) -> None:
        """Serve this one too."""
        self._doors[door.listener.fileno()] = door
        os.eventfd_write(self._bell, 1)

    def shut(self, door: Door) -> bool:
        """Not this one any more; whether another is left."""
        self._doors.pop(door.listener.fileno(), None)
        door.listener.close()
        os.eventfd_write(self._bell, 1)
        return bool(self._doors)

    def close(self) -> None:
        """Stop: connections are cut. Waits for the thread's end."""
        self._over = True
        os.eventfd_write(self._bell, 1)
        if self._thread.join(PATIENCE):
            self.abandon()

    def abandon(self) -> None:
        """Close what is open, where the thread does not run (any more)."""
        for door in self._doors.values():
            door.listener.close()
        for peer in self._peers.values():
            peer.sock.close()
        self._doors.clear()
        self._peers.clear()
        os.close(self._bell)

    def _serve(self) -> None:
        new_poll, sleep = original("select", "poll"), original("time", "sleep")
        while not self._over:
            for fd, _ in self._wait(new_poll()):
                if fd == self._bell:
                    os.eventfd_read(fd)
                elif (door := self._doors.get(fd)) is not None and not self._let_in(door):
                    sleep(_PAUSE)
                elif (peer := self._peers.get(fd)) is not None and not peer.move():
                    self._let_go(fd)
        if self._disowned:
            self.abandon()

    def _wait(self, poll: Any) -> list[tuple[int, int]]:
        now = time.monotonic()
        for fd in [fd for fd, peer in self._peers.items() if peer.end <= now]:
            self._let_go(fd)
        for fd in (self._bell, *tuple(self._doors)):
            poll.register(fd, select.POLLIN)
        for fd, peer in self._peers.items():
            poll.register(fd, peer.wants)
        soonest = min((peer.end for peer in self._peers.values()), default=None)
        found: list[tuple[int, int]] = poll.poll(None if soonest is None else max(1, (soonest - now) * 1000))
        return found

    def _let_in(self, door: Door) -> bool:
        """One more peer; False when there is no room for it just now."""
        try:
            # not socket.accept: under gevent that makes a socket of gevent's
            fd, _ = door.listener._accept()  # type: ignore[attr-defined]
        except (BlockingIOError, ConnectionError):
            return True
        except OSError:
            return False
        sock = socket(fileno=fd)
        sock.setblocking(False)
        try:
            refusal = door.refuse(sock)
        except OSError as error:  # the store's directory is gone
            refusal = str(error)
        if refusal:
            logger.warning("%s", refusal)
            sock.close()
            return True
        if len(self._peers) >= MAX_PEERS:
            self._let_go(next(iter(self._peers)))
        self._peers[fd] = _Peer(sock, door.answer)
        return True

    def _let_go(self, fd: int) -> None:
        self._peers.pop(fd).sock.close()


_hearing: Hearing | None = None
_lock = original("_thread", "allocate_lock")()


def open_door(door: Door) -> None:
    """Serve it in this process's thread, which is started when there is none. Raises ``OSError`` or ``RuntimeError``
    when the system has no thread or descriptor left.
    """
    global _hearing
    with _lock:
        if _hearing is None:
            _hearing = Hearing()
        _hearing.open(door)


def close_door(door: Door) -> None:
    """Not any more; with the last door the thread ends."""
    global _hearing
    with _lock:
        if _hearing is not None and not _hearing.shut(door):
            _hearing.close()
            _hearing = None


def _after_fork() -> None:
    global _hearing, _lock
    _lock = original("_thread", "allocate_lock")()
    if _hearing is not None:
        _hearing.abandon()
        _hearing = None


os.register_at_fork(after_in_child=_after_fork)
