"""Seats: what each runner of a redis store has to itself on its host, because the store has no directory.

A seat is a directory with a name that no other runner anywhere ever had: the slates of its workers, its control
socket, and a lock that it holds while it lives. Whoever finds a seat whose lock is free has found a dead runner's: its
slates say how far its workers came, and what they left running is known by their mark (promises P2, P5 and P8).
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from pathlib import Path
from typing import Final

from django_graceful.exceptions import StoreUnavailable
from django_graceful.runner.slate import SlateDirectory
from django_graceful.stores.leveldb.files import explain

_LOCK: Final = "lock"
#: Begins the name of a seat that nobody sits on yet.
_NEW: Final = "."


class Seat:
    """A directory whose lock this process holds."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd
        self.slates = SlateDirectory(path / "slates")

    @property
    def name(self) -> str:
        """Under which the store knows it."""
        return self.path.name

    def remove(self) -> None:
        """Nothing of it is needed any more."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.leave()

    def leave(self) -> None:
        """Let go; the next start on this host finds it."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def take(home: Path) -> Seat:
    """A new seat below ``home``. Raises :class:`~django_graceful.exceptions.StoreUnavailable`."""
    name = secrets.token_hex(8)
    try:
        _open(home)
        fresh = home / f"{_NEW}{name}"
        fresh.mkdir(mode=0o700)
        fd = _lock(fresh)
        os.rename(fresh, home / name)  # only now can it be found, and its lock is held
    except OSError as error:
        raise explain(error, home, "keep what belongs to a runner") from error
    return Seat(home / name, -1 if fd is None else fd)


def abandoned(home: Path) -> list[Seat]:
    """The seats of runners that are dead. Raises :class:`~django_graceful.exceptions.StoreUnavailable`."""
    try:
        return [Seat(path, fd) for path in all_below(home) if (fd := _lock(path)) is not None]
    except OSError as error:
        raise explain(error, home, "look for dead runners") from error


def all_below(home: Path) -> list[Path]:
    """The directories of all seats below ``home``, in no order. Raises ``OSError``."""
    if not home.is_dir():
        return []
    return [path for path in home.iterdir() if not path.name.startswith(_NEW) and path.is_dir()]


def _open(home: Path) -> None:
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = home.stat().st_uid
    if os.geteuid() not in (0, owner):  # in a directory for all somebody else may have made it
        raise StoreUnavailable(f"{home} belongs to user {owner}: set RUNTIME to a directory of the runner's own")


def _lock(path: Path) -> int | None:
    """Hold the lock of that seat; None when somebody else does, or when it was removed just now."""
    try:
        fd = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_nlink:
            return fd
    except BlockingIOError:
        pass
    os.close(fd)
    return None
