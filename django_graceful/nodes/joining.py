"""Making this OS process visible to the others: lazily, once, and again in the child of a fork when it asks for it.

Nothing is started at import. A process that can not be made visible (no store, no room) says so once in the log and
works on: requests and jobs never fail for the sake of the table (promise P10).
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from functools import partial
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from django_graceful.conf import get_conf
from django_graceful.exceptions import GracefulError
from django_graceful.nodes import names, table
from django_graceful.stores import get_store
from django_graceful.stores.exchange import Exchange

logger = logging.getLogger("django_graceful.nodes")

#: What this OS process is, by its name, once it has joined; empty: nobody said.
_kinds: dict[str, str] = {}
_joined: list[Exchange] = []
#: Reentrant: a signal handler may open a process while its thread is in here.
_lock = threading.RLock()


def join(kind: str = "") -> None:
    """Make this OS process visible on all stores, as ``web``, ``command`` or ``worker``. The first word counts; without
    one it is a ``command``.

    Idempotent, and when it is done already it costs a look into a dict. Never raises.
    """
    known = _kinds.get(names.current)
    if known is None:
        with _lock:
            if names.current not in _kinds:
                _join(kind)
    elif kind and not known:
        _kinds[names.current] = kind


def leave() -> None:
    """Not visible any more; the thread that answered has ended when this returns. The next :func:`join` begins anew."""
    with _lock:
        _kinds.clear()
        while _joined:
            _joined.pop().leave()


def _join(kind: str) -> None:
    _kinds[names.current] = kind
    try:
        aliases = list(get_conf().stores)
    except ImproperlyConfigured:  # whoever pushes is told
        return
    for alias in aliases:
        try:
            exchange = get_store(alias).exchange()
            exchange.join(names.current, partial(_describe, names.current), table.obey)
            _joined.append(exchange)
        except GracefulError as error:
            logger.warning("what runs in this process (pid %d) is not listed: %s", os.getpid(), error)


def _describe(name: str) -> dict[str, Any]:
    return table.describe(_kinds.get(name) or "command")


def _forget() -> None:
    global _lock
    _lock = threading.RLock()
    _kinds.clear()
    _joined.clear()


def _on_setting_changed(*, setting: str, **kwargs: Any) -> None:
    if setting == "GRACEFUL":
        leave()


os.register_at_fork(after_in_child=_forget)
setting_changed.connect(_on_setting_changed)
atexit.register(leave)
