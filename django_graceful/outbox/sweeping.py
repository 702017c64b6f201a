"""One round of a sweeper: hand over what others left, and let the stores forget what nobody can hand over again."""

from __future__ import annotations

import logging
import time
from contextlib import nullcontext
from dataclasses import dataclass, field

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connections, transaction

from django_graceful.conf import get_conf
from django_graceful.exceptions import StoreError
from django_graceful.outbox import AGE, FRESH, KEEP, SKEW, rows
from django_graceful.outbox.delivery import clock, deliver
from django_graceful.outbox.rows import Row
from django_graceful.pushing import announce
from django_graceful.queues import all_queues
from django_graceful.stores import get_store

logger = logging.getLogger("django_graceful.outbox")


@dataclass(slots=True)
class Round:
    """What one look at the outboxes has brought."""

    #: How many items were handed over.
    handed: int = 0
    #: By store: when (epoch seconds) the oldest row was created that is still there.
    left: dict[str, float] = field(default_factory=dict)
    #: What is wrong, by database.
    errors: dict[str, str] = field(default_factory=dict)


def databases() -> list[str]:
    """The databases that may have an outbox. Connects to nothing."""
    return [
        alias
        for alias, entry in settings.DATABASES.items()
        if entry.get("ENGINE") not in (None, "", "django.db.backends.dummy") and rows.takes_part(alias)
    ]


def look(aliases: list[str], age: float = AGE) -> Round:
    """Hand over every row in these databases that is at least ``age`` seconds old. Never raises what they raise."""
    found = Round()
    before = time.time() - age
    for alias in aliases:
        try:
            _look(alias, before, found)
        except (DatabaseError, InterfaceError) as error:
            found.errors[alias] = str(error)
    return found


def _look(alias: str, before: float, found: Round) -> None:
    lock = connections[alias].features.has_select_for_update_skip_locked
    after = b""
    while True:
        with transaction.atomic(using=alias) if lock else nullcontext():
            until = clock() + FRESH
            stretch = rows.older(alias, before, after, lock=lock)
            delivered = deliver(stretch, until)
            rows.delete(alias, [row.id for row in delivered])
        _note(found, stretch, delivered)
        if len(stretch) < rows.STRETCH:
            return
        after = stretch[-1].id


def _note(found: Round, stretch: list[Row], delivered: list[Row]) -> None:
    gone = {row.id for row in delivered}
    for row in stretch:
        if row.id not in gone:
            found.left[row.store] = min(row.created, found.left.get(row.store, row.created))
    by_queue: dict[str, list[bytes]] = {}
    for row in delivered:
        by_queue.setdefault(row.queue, []).append(row.id)
    found.handed += len(delivered)
    for name, ids in by_queue.items():
        logger.info("outbox: %d items of queue %s are handed over for those who did not come to it", len(ids), name)
        queue = all_queues().get(name)
        if queue is not None:
            announce(queue, ids)


def age_to_forget(left: float | None, now: float) -> float:
    """What a store may forget: handovers that many seconds ago or earlier. ``left``: as in :class:`Round`."""
    return max(KEEP, 0.0 if left is None else now - left) + SKEW


def forget(found: Round) -> None:
    """Let the stores forget, after a look at *all* databases; nothing, when one could not be seen."""
    if found.errors:
        return
    now = time.time()
    for alias, conf in get_conf().stores.items():
        if conf.backend == "memory":
            continue
        age = age_to_forget(found.left.get(alias), now)
        try:
            with get_store(alias).admin() as desk:
                while desk.forget_handovers(age):
                    pass
        except StoreError as error:
            logger.debug("outbox: store %s forgets later: %s", alias, error)
