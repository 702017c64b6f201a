"""Waking a sleeping owner: a datagram socket in the store's directory.

The owner binds it and waits on it; a producer that saw on the board that the owner sleeps sends one byte. Nothing is
lost with a datagram: the items are in the inbox already, and an owner that could not be woken finds them when it wakes
by itself.

A Unix socket's path holds 107 bytes. Both sides name the socket through a descriptor of its directory,
``/proc/self/fd/N``, which is short however deep the project lies.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import AF_UNIX, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, socket
from typing import Final

from django_graceful.stores.leveldb.files import settle

NAME: Final = "wake.sock"


class WakeReceiver:
    """The owner's end. Takes the place of a socket that a killed owner left: only who holds the owner's lock makes one.

    Raises ``OSError`` when the directory can not be written.
    """

    def __init__(self, directory: Path, mode: int = 0o600) -> None:
        self.socket = _datagram_socket()
        temporary = f".{NAME}.new"
        try:
            with short_path(directory) as short:
                with suppress(FileNotFoundError):
                    os.unlink(short / temporary)
                self.socket.bind(str(short / temporary))
                settle(short / temporary, mode, directory)
                # renamed into place with its permissions, so there is no moment without a socket or with an open one
                os.rename(short / temporary, short / NAME)
        except BaseException:
            self.socket.close()
            raise

    def drain(self) -> None:
        """Forget the wake-ups that came so far. Never blocks."""
        with suppress(BlockingIOError):
            while True:
                self.socket.recv(16)

    def close(self) -> None:
        """Stop listening. The file stays: a later owner takes its place, and until then senders find nobody."""
        self.socket.close()


class WakeSender:
    """A producer's end: connects when first used, and again when another owner has taken over. One thread at a time."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._socket: socket | None = None

    def send(self) -> bool:
        """Wake the owner. Never blocks, never raises; False when there is nobody to wake (or no permission to)."""
        return self._try() or self._try()

    def _try(self) -> bool:
        try:
            if self._socket is None:
                self._socket = self._connect()
            self._socket.send(b"!")
        except BlockingIOError:
            return True  # its buffer is full of wake-ups
        except OSError:
            self.close()
            return False
        return True

    def _connect(self) -> socket:
        found = _datagram_socket()
        try:
            with short_path(self._directory) as short:
                found.connect(str(short / NAME))
        except BaseException:
            found.close()
            raise
        return found

    def close(self) -> None:
        """Let go of the connection; the next :meth:`send` makes a new one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _datagram_socket() -> socket:
    return socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC)


@contextmanager
def short_path(directory: Path) -> Iterator[Path]:
    """A path of that directory that is short enough for the name of a Unix socket in it, valid inside the ``with``."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield Path(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)
