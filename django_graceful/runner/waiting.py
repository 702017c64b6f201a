"""``runqueues --wait``: another runner has a store of ours, so wait until it lets go, however long that takes.

Runs in the command, before the runner opens or starts anything: signals have their default action, and a TERM just
ends the waiting.
"""

from __future__ import annotations

import logging
import os
import select
from collections.abc import Iterable
from contextlib import suppress

from django_graceful.conf import StoreConf
from django_graceful.exceptions import StoreLocked
from django_graceful.stores.leveldb.ownership import LOCK, OwnerLock

logger = logging.getLogger("django_graceful.runner")

#: Seconds between two looks; a holder that ends is noticed at once.
_LOOK = 0.5


def wait_for_stores(stores: Iterable[StoreConf]) -> None:
    """Return when no runner has any of these stores. One may take a store in the next moment; opening it says so.

    Raises :class:`~django_graceful.exceptions.StoreUnavailable` when a store can not be looked at.
    """
    for conf in stores:
        told = False
        while (locked := _locked(conf)) is not None:
            if not told:
                logger.info("%s; waiting until it lets go", locked)
                told = True
            _pause(locked.pid)


def _locked(conf: StoreConf) -> StoreLocked | None:
    if conf.backend != "leveldb" or not (conf.path / LOCK).exists():
        return None
    lock = OwnerLock(conf.path, conf.mode)
    try:
        lock.acquire("tool")
    except StoreLocked as locked:
        return locked
    lock.release()
    return None


def _pause(pid: int | None) -> None:
    """Until that process ends, but no longer than until the next look: the lock may change hands, or be elsewhere."""
    handle = -1
    with suppress(OSError, ValueError, TypeError):
        handle = os.pidfd_open(pid or 0)
    select.select([handle] if handle >= 0 else [], [], [], _LOOK)
    if handle >= 0:
        os.close(handle)
