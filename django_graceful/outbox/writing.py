"""Pushing through the outbox: the record becomes a row of the transaction. Runs in the thread that pushes."""

from __future__ import annotations

import time
from collections.abc import Sequence

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from django_graceful.conf import Conf
from django_graceful.exceptions import QueueFull
from django_graceful.items import FORMAT, HEADER, OUTBOX, id_of
from django_graceful.options import coerce
from django_graceful.outbox import batches, rows
from django_graceful.outbox.batches import Told
from django_graceful.outbox.rows import Row


def database(outbox: bool | str, on_commit: bool | str) -> str:
    """The alias of the database that both arguments of a push mean together.

    Raises ``ValueError`` when they name different ones, or ``outbox`` names none.
    """
    try:
        coerce("outbox", outbox)
    except ValueError as error:
        raise ValueError(f"outbox {error}") from None
    named = {alias for alias in (outbox, on_commit) if isinstance(alias, str) and alias}
    if len(named) > 1:
        raise ValueError(f"on_commit={on_commit!r} and outbox={outbox!r} name two databases: leave on_commit out")
    return named.pop() if named else DEFAULT_DB_ALIAS


def wanted(using: str, conf: Conf, store: str) -> bool:
    """Whether a push now, to that store, is to go through the outbox of the database ``using``.

    Not outside of a transaction, where a push is durable when it returns; and not to a store that lives in memory only
    and would lose the item all the same. Raises ``ConnectionDoesNotExist`` for an unknown database.
    """
    return connections[using].in_atomic_block and conf.store(conf.store(store).home).backend != "memory"


def write(queue: str, records: Sequence[bytes], *, store: str, limit: int, using: str, told: Told) -> list[bytes]:
    """Write records (of :func:`~django_graceful.items.encode_record`) into the transaction; their ids.

    They are pushed to ``store`` when it commits, and ``told`` of the ids then, unless a runner has to do it. ``limit``
    is what the queue holds. Raises :class:`~django_graceful.exceptions.OutboxUnavailable`,
    :class:`~django_graceful.exceptions.QueueFull` for more than the queue ever holds, and what the database raises.
    """
    if len(records) > limit:
        raise QueueFull(f"queue {queue!r} holds {limit} items at most: {len(records)} in one push never fit")
    rows.require(using)
    now = time.time()
    written = [Row(id_of(record), store, queue, _marked(record), now) for record in records]
    rows.insert(using, written)
    batch = batches.current(using)
    batch.add(written, told)
    transaction.on_commit(batch.hand_over, using=using, robust=True)
    return [row.id for row in written]


def _marked(record: bytes) -> bytes:
    return record[:1] + bytes((record[1] | OUTBOX,)) + record[2:]


def unmarked(record: bytes) -> bytes:
    """The record without the mark of the outbox: for another store, which knows nothing of its handovers."""
    if len(record) < HEADER.size or record[0] != FORMAT or not record[1] & OUTBOX:
        return record
    return record[:1] + bytes((record[1] & ~OUTBOX,)) + record[2:]
