"""The store in memory: for tests, and for work that may be lost with its process (promise P1 does not hold here).

One engine over a map in this process. A lock is around every call, so several threads may push while another leases and
finishes. A forked child starts empty: what the parent holds is the parent's to do.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any

from django_graceful.conf import StoreConf
from django_graceful.exceptions import StoreLocked
from django_graceful.stores.base import Store, StoreAdmin, StoreOwner, Witness
from django_graceful.stores.engine.kv import MemoryKV
from django_graceful.stores.engine.owner import Engine
from django_graceful.stores.exchange import Exchange, LocalExchange


class Bell:
    """Board and wake-up socket of an owner in this process: rung when something is pushed while the owner sleeps."""

    def __init__(self) -> None:
        self.sleeping = False
        self.socket, self._rope = socket.socketpair()
        self.socket.setblocking(False)
        self._rope.setblocking(False)
        weakref.finalize(self, _close, self.socket, self._rope)

    def set_depth(self, queue: str, waiting: int, /) -> None:
        """Producers of this process ask the engine itself."""

    def ring(self) -> None:
        """Wake the owner if it sleeps."""
        if self.sleeping:
            self.sleeping = False
            self._rope.send(b"!")

    def drain(self) -> None:
        """Not ringing any more."""
        try:
            while self.socket.recv(64):
                pass
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Let go of the sockets."""
        _close(self.socket, self._rope)


def _close(*sockets: socket.socket) -> None:
    for one in sockets:
        one.close()


class MemoryOwner(Engine):
    """The engine with a lock around every method of the contract."""

    def __init__(self, store: MemoryStore, witness: Witness | None, max_crashes: int) -> None:
        self._store = store
        self.lock = store.lock
        super().__init__(
            store.kv, clock=store.clock, board=store.bell, wake=store.bell, witness=witness, max_crashes=max_crashes
        )

    def close(self, *, sync: bool = True) -> None:
        """Let go. The items stay, for the next owner in this process."""
        with self.lock:
            self._store.owner_left(self)


def _locked(name: str) -> Callable[..., Any]:
    method = getattr(Engine, name)

    @wraps(method)
    def call(self: MemoryOwner, *args: Any, **kwargs: Any) -> Any:
        with self.lock:
            return method(self, *args, **kwargs)

    return call


for _name in StoreOwner.__abstractmethods__ - {"close"}:
    setattr(MemoryOwner, _name, _locked(_name))


class MemoryStore(Store):
    """One entry of ``STORES`` with ``BACKEND: "memory"``. ``clock`` gives seconds since the epoch."""

    def __init__(self, conf: StoreConf, clock: Callable[[], float] = time.time) -> None:
        self.alias = conf.alias
        self.clock = clock
        self.lock = threading.RLock()
        self.kv = MemoryKV()
        self.bell = Bell()
        #: The last owner, or an engine that nobody owns yet.
        self._owner: MemoryOwner | None = None
        self._owned = False
        self._exchange = LocalExchange()
        _stores.add(self)

    def push(self, queue: str, records: Sequence[bytes], limit: int = 0) -> list[bytes]:
        with self.lock:
            ids = self._engine().push(queue, records, limit)
            self.bell.ring()
            return ids

    @contextmanager
    def admin(self, *, alone: bool = False) -> Iterator[StoreAdmin]:
        """The engine's desk; it needs no runner, because everything is in this process."""
        yield self._engine()

    def own(self, witness: Witness | None = None, *, max_crashes: int = 3) -> StoreOwner:
        with self.lock:
            if self._owned:
                pid = os.getpid()
                raise StoreLocked(f"the memory store {self.alias!r} has an owner in this process, pid {pid}", pid)
            self._owner = MemoryOwner(self, witness, max_crashes)
            self._owned = True
            return self._owner

    def exchange(self) -> Exchange:
        return self._exchange

    def owner_left(self, owner: MemoryOwner) -> None:
        """The owner was closed."""
        if owner is self._owner:
            self._owned = False

    def start_anew(self) -> None:
        """In a forked child: nothing is inherited, and a lock that another thread held is nobody's now."""
        self.lock = threading.RLock()
        self.bell.close()
        self._exchange = LocalExchange()
        self.kv, self.bell, self._owner, self._owned = MemoryKV(), Bell(), None, False

    def _engine(self) -> MemoryOwner:
        with self.lock:
            if self._owner is None:
                self._owner = MemoryOwner(self, None, 3)
            return self._owner


def _after_fork() -> None:
    for store in list(_stores):
        store.start_anew()


_stores: weakref.WeakSet[MemoryStore] = weakref.WeakSet()
os.register_at_fork(after_in_child=_after_fork)
