"""Pushing rows of the outbox to their stores. What can not be pushed now stays a row; nothing here raises for it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from itertools import groupby

from django.core.exceptions import ImproperlyConfigured

from django_graceful.conf import get_conf
from django_graceful.exceptions import GracefulError, QueueFull, StoreUnavailable
from django_graceful.outbox.rows import Row
from django_graceful.queues import all_queues
from django_graceful.stores import get_store

logger = logging.getLogger("django_graceful.outbox")

#: The most that one push to a store carries: items, and bytes beyond which nothing is added.
_ITEMS, _BYTES = 500, 4 << 20
#: Seconds for which a store that could not be reached is left alone, so that not every commit waits for it.
_REST = 1.0

_resting: dict[str, float] = {}


def clock() -> float:
    """Seconds that pass also while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def deliver(rows: Sequence[Row], until: float) -> list[Row]:
    """Push these rows, store by store; those that their stores have now. What is not pushed ``until`` then stays."""
    delivered: list[Row] = []
    for (store, queue), group in groupby(sorted(rows, key=_place), _place):
        for some in _portions(list(group)):
            if clock() > until or _resting.get(store, 0.0) > time.monotonic():
                break
            try:
                delivered += _push(store, queue, some)
            except (GracefulError, ImproperlyConfigured) as error:
                if isinstance(error, StoreUnavailable):
                    _resting[store] = time.monotonic() + _REST
                text = "outbox: items of queue %s wait for their store %s: %s"
                logger.warning(text, queue, store, error)
                break
    return delivered


def _place(row: Row) -> tuple[str, str]:
    return row.store, row.queue


def _push(store: str, queue: str, rows: list[Row]) -> list[Row]:
    """Push these, or as many from their beginning as there is room for. Raises when that is none."""
    try:
        get_store(store).hand_over(queue, [row.record for row in rows], _limit(queue))
    except QueueFull:
        if len(rows) == 1:
            raise
        return _push(store, queue, rows[: len(rows) // 2])
    return rows


def _limit(queue: str) -> int:
    """The most that may wait; of a queue that no code declares any more, any number (its items are set aside)."""
    conf, found = get_conf(), all_queues().get(queue)
    return 0 if found is None else found.options.length or conf.length


def _portions(rows: list[Row]) -> Iterator[list[Row]]:
    portion: list[Row] = []
    size = 0
    for row in rows:
        portion.append(row)
        size += len(row.record)
        if len(portion) == _ITEMS or size > _BYTES:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion
