"""Who owns a LevelDB store: one process at a time, by an exclusive ``flock`` on ``owner.lock``.

The lock alone decides, never the file's content: a killed owner's lock is gone with it, and what it wrote into the file
is only read to name the holder of a lock that *is* held. Locking never waits in the kernel (on some network file
systems that would be for ever); a tool's short visit is waited for by asking again.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
import weakref
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from django_graceful.exceptions import StoreLocked, StoreUnavailable
from django_graceful.stores.leveldb.codec import from_json
from django_graceful.stores.leveldb.files import explain, settle

LOCK: Final = "owner.lock"
#: Seconds to wait for a tool that has the store open.
PATIENCE: Final = 5.0
_PAUSE: Final = 0.005


@dataclass(slots=True, frozen=True)
class Holder:
    """Who wrote that it has the lock. ``role`` is ``runner`` or ``tool``, ``since`` a local time with its offset."""

    pid: int
    role: str
    since: str
    host: str

    def __str__(self) -> str:
        where = "" if self.host == socket.gethostname() else f" on host {self.host}"
        return f"the {self.role} with pid {self.pid}{where} since {self.since}"


class OwnerLock:
    """The lock of one store. ``directory`` must be there; ``mode`` is the lock file's (a group may share the store)."""

    def __init__(self, directory: Path, mode: int = 0o600) -> None:
        self.path = directory / LOCK
        self._mode = mode
        self._fd: int | None = None

    def acquire(self, role: str, patience: float = PATIENCE) -> None:
        """Become the owner as ``role`` (``runner`` or ``tool``).

        While a tool has the store, or it is changing hands, ask again for up to ``patience`` seconds. Raises
        :class:`~django_graceful.exceptions.StoreLocked`, naming the holder, at once when that is a runner; and
        :class:`~django_graceful.exceptions.StoreUnavailable` when the file can not be opened or locked.
        """
        deadline = time.monotonic() + patience
        fd = self._open()
        try:
            while not _try_lock(fd, self.path):
                holder = read_holder(self.path)
                if (holder and holder.role == "runner") or time.monotonic() >= deadline:
                    raise self._locked(holder)
                time.sleep(_PAUSE)
            _write(fd, Holder(os.getpid(), role, _now(), socket.gethostname()))
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        _held.add(self)

    def release(self) -> None:
        """Let go, also when a child has inherited the descriptor. Idempotent."""
        fd, self._fd = self._fd, None
        if fd is None:
            return
        with suppress(OSError):
            os.ftruncate(fd, 0)
        # Not only closed: a child that was forked meanwhile would keep the lock alive.
        fcntl.flock(fd, fcntl.LOCK_UN)
        os.close(fd)

    def forget(self) -> None:
        """In a forked child: close the inherited descriptor, so that the lock is the parent's alone."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def _open(self) -> int:
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, self._mode)
        except OSError as error:
            raise explain(error, self.path, "own the store") from error
        with suppress(PermissionError):  # another user of the group made it
            settle(fd, self._mode, self.path.parent)
        return fd

    def _locked(self, holder: Holder | None) -> StoreLocked:
        owner = str(holder) if holder else "another process"
        return StoreLocked(f"the store at {self.path.parent} is owned by {owner}", pid=holder.pid if holder else None)


def read_holder(path: Path) -> Holder | None:
    """Who says in the lock file that it is the owner; None when nobody does or that process is gone."""
    try:
        holder: Holder = from_json(Holder, json.loads(path.read_bytes()))
    except (OSError, ValueError):
        return None
    return None if _gone(holder) else holder


def _gone(holder: Holder) -> bool:
    if holder.host != socket.gethostname():
        return False
    try:
        os.kill(holder.pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:
        return False
    return False


def _try_lock(fd: int, path: Path) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise StoreUnavailable(f"the file system of {path} can not lock files: {error}") from error
    return True


def _write(fd: int, holder: Holder) -> None:
    """Best effort: on a full disk the store must still open, so that it can be emptied."""
    data = json.dumps(asdict(holder)).encode()
    with suppress(OSError):
        os.pwrite(fd, data.ljust(os.fstat(fd).st_size), 0)
        os.ftruncate(fd, len(data))


def _now() -> str:
    return datetime.now().astimezone().isoformat(" ", "seconds")


def _forget_all() -> None:
    for lock in list(_held):
        lock.forget()


_held: weakref.WeakSet[OwnerLock] = weakref.WeakSet()
os.register_at_fork(after_in_child=_forget_all)
