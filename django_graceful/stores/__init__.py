"""The stores of this process, by alias: one object per alias and process, made on first use and made anew after a fork.

Nothing is opened here or at import (``AppConfig.ready`` of a preloading server runs before its forks), so a handle can
never be shared with a child by accident.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from django_graceful.conf import StoreConf, get_conf
from django_graceful.stores.base import Store

_stores: dict[str, Store] = {}
#: Those that :func:`stores_made_by` keeps away, the outermost first.
_outer: list[dict[str, Store]] = []
#: What makes stores instead of the settings; None: nothing does.
_maker: Callable[[StoreConf], Store] | None = None
#: Reentrant: a signal handler that pushes may interrupt its thread in here.
_lock = threading.RLock()


def get_store(alias: str = "default") -> Store:
    """The store of that alias. Raises ``ImproperlyConfigured`` for an unknown alias or a setting that is wrong."""
    found = _stores.get(alias)
    if found is not None:
        return found
    with _lock:
        conf = get_conf().store(alias)
        return _stores.get(alias) or _stores.setdefault(alias, _make(conf))


def load_stores() -> None:
    """Import what the stores of the settings need, so that no push has to: one in a signal handler could interrupt
    another's import. What is wrong or missing is passed over; the checks tell of it.
    """
    with suppress(ImproperlyConfigured, ImportError):
        for conf in get_conf().stores.values():
            _kind(conf)


def close_stores() -> None:
    """Let go of everything that this process has open for pushing; the next push opens it again. Idempotent."""
    for store in list(_stores.values()):
        store.close()


@contextmanager
def stores_made_by(make: Callable[[StoreConf], Store]) -> Iterator[None]:
    """For tests: until the end of the block, ``make`` gives every store of this process, of whatever kind the settings
    say it is, also when they change. May be nested. Afterwards the stores are those of before.
    """
    global _maker
    before = _maker
    with _lock:
        _outer.append(dict(_stores))
        _stores.clear()
        _maker = make
    try:
        yield
    finally:
        with _lock:
            _stores.clear()
            _stores.update(_outer.pop())
            _maker = before


def _make(conf: StoreConf) -> Store:
    return (_maker or _kind(conf))(conf)


def _kind(conf: StoreConf) -> Callable[[StoreConf], Store]:
    if conf.spill_to:
        from django_graceful.spill.store import SpillStore

        return SpillStore
    if conf.backend == "memory":
        from django_graceful.stores.memory import MemoryStore

        return MemoryStore
    if conf.backend == "redis":
        from django_graceful.stores.redis import RedisStore

        return RedisStore
    from django_graceful.stores.leveldb import LevelDBStore

    return LevelDBStore


def _forget() -> None:
    global _lock
    _lock = threading.RLock()
    for stores in (_stores, *_outer):
        stores.clear()


def _on_setting_changed(*, setting: str, **kwargs: Any) -> None:
    if setting == "GRACEFUL":
        for stores in (_stores, *_outer):
            for store in stores.values():
                store.close()
            stores.clear()


os.register_at_fork(after_in_child=_forget)
setting_changed.connect(_on_setting_changed)
