"""The outbox's table: reading and writing rows of one database. Runs in the thread whose connection it is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.core.signals import setting_changed
from django.db import connections, router

from django_graceful.exceptions import OutboxUnavailable

#: What the sweeper reads, and what is deleted, in one go: databases bound the parameters of a query.
STRETCH = 500

_sound: set[tuple[str, str]] = set()


class Row(NamedTuple):
    """One item on its way. ``created`` is in seconds since the epoch."""

    id: bytes
    store: str
    queue: str
    record: bytes
    created: float


def takes_part(using: str) -> bool:
    """Whether the routers allow the table in that database."""
    from django_graceful.models import OutboxItem

    return bool(router.allow_migrate_model(using, OutboxItem))


def has_table(using: str) -> bool:
    """Whether the table is there. Asks the database; raises what it raises."""
    from django_graceful.models import OutboxItem

    connection = connections[using]
    with connection.cursor() as cursor:
        return OutboxItem._meta.db_table in connection.introspection.table_names(cursor)


def require(using: str) -> None:
    """Raises :class:`~django_graceful.exceptions.OutboxUnavailable` when there is no outbox in that database.

    A database that had one is not asked again by this process.
    """
    mark = using, str(connections[using].settings_dict.get("NAME"))
    if mark in _sound:
        return
    if not takes_part(using):
        raise OutboxUnavailable(
            f"the database {using!r} has no outbox: DATABASE_ROUTERS do not allow the model django_graceful.OutboxItem "
            f"there; allow it and migrate, or name another database with outbox=…"
        )
    if not has_table(using):
        raise OutboxUnavailable(
            f"the database {using!r} has no table for the outbox: run manage.py migrate django_graceful "
            f"--database={using}"
        )
    _sound.add(mark)


def insert(using: str, rows: Sequence[Row]) -> None:
    """Write rows in the current transaction. Raises what the database raises."""
    from django_graceful.models import OutboxItem

    made = (OutboxItem(UUID(bytes=row.id), row.store, row.queue, row.record, row.created) for row in rows)
    OutboxItem.objects.using(using).bulk_create(made)


def present(using: str, ids: Sequence[bytes]) -> set[bytes]:
    """Those of ``ids`` of which there is a row."""
    from django_graceful.models import OutboxItem

    found: set[bytes] = set()
    for some in _stretches(ids):
        known = OutboxItem.objects.using(using).filter(pk__in=some)
        found.update(number.bytes for number in known.values_list("pk", flat=True))
    return found


def older(using: str, before: float, after: bytes, *, lock: bool) -> list[Row]:
    """A stretch of the rows created ``before``, in the order of their ids, behind the one with id ``after``.

    ``lock``: those that another transaction has locked are left out, and these are locked.
    """
    from django_graceful.models import OutboxItem

    found = OutboxItem.objects.using(using).filter(created__lt=before).order_by("pk")
    if after:
        found = found.filter(pk__gt=UUID(bytes=after))
    if lock:
        found = found.select_for_update(skip_locked=True)
    return [Row(row.pk.bytes, row.store, row.queue, bytes(row.record), row.created) for row in found[:STRETCH]]


def delete(using: str, ids: Sequence[bytes]) -> None:
    """Delete the rows of these ids; of those that are gone already it is none."""
    from django_graceful.models import OutboxItem

    for some in _stretches(ids):
        OutboxItem.objects.using(using).filter(pk__in=some).delete()


def _stretches(ids: Sequence[bytes]) -> list[Collection[UUID]]:
    return [[UUID(bytes=i) for i in ids[at : at + STRETCH]] for at in range(0, len(ids), STRETCH)]


def _on_setting_changed(*, setting: str, **kwargs: Any) -> None:
    if setting in ("DATABASES", "DATABASE_ROUTERS"):
        _sound.clear()


setting_changed.connect(_on_setting_changed)
