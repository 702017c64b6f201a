"""The stores of this process, by alias: one object per alias and process, made on first use and made anew after a fork.

Nothing is opened here or at import (``AppConfig.ready`` of a preloading server runs before its forks), so a handle can
never be shared with a child by accident.
"""

from __future__ import annotations

import os
import threading
from typing import Any

from django.core.signals import setting_changed

from django_graceful.conf import StoreConf, get_conf
from django_graceful.stores.base import Store

_stores: dict[str, Store] = {}
#: Reentrant: a signal handler that pushes may interrupt its thread in here.
_lock = threading.RLock()


def get_store(alias: str = "default") -> Store:
    """The store of that alias. Raises ``ImproperlyConfigured`` for an unknown alias or a setting that is wrong."""
    found = _stores.get(alias)
    if found is not None:
        return found
    with _lock:
        return _stores.get(alias) or _stores.setdefault(alias, _make(get_conf().store(alias)))


def close_stores() -> None:
    """Let go of everything that this process has open for pushing; the next push opens it again. Idempotent."""
    for store in list(_stores.values()):
        store.close()


def _make(conf: StoreConf) -> Store:
    if conf.spill_to:
        from django_graceful.spill.store import SpillStore

        return SpillStore(conf)
    if conf.backend == "memory":
        from django_graceful.stores.memory import MemoryStore

        return MemoryStore(conf)
    if conf.backend == "redis":
        from django_graceful.stores.redis import RedisStore

        return RedisStore(conf)
    from django_graceful.stores.leveldb import LevelDBStore

    return LevelDBStore(conf)


def _forget() -> None:
    global _lock
    _lock = threading.RLock()
    _stores.clear()


def _on_setting_changed(*, setting: str, **kwargs: Any) -> None:
    if setting == "GRACEFUL":
        close_stores()
        _stores.clear()


os.register_at_fork(after_in_child=_forget)
setting_changed.connect(_on_setting_changed)
