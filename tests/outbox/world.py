"""A site in small: databases in files with a table of deeds, a store, and a queue whose payloads name deeds.

A deed and the item that was pushed with it must both be there in the end, or neither.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from django.conf import settings
from django.db import connections, transaction

from django_graceful.items import decode_item
from django_graceful.models import OutboxItem
from django_graceful.outbox import rows
from django_graceful.outbox.sweeping import Round, look
from django_graceful.queues import Queue
from django_graceful.stores import get_store
from django_graceful.stores.base import StoreOwner


class World:
    """What the tests of the outbox work on. ``queue`` is pushed to; nothing handles it but :meth:`run`."""

    def __init__(self, folder: Path, queue: Queue[Any]) -> None:
        self.folder, self.queue = folder, queue
        self.handled: Counter[Any] = Counter()
        self._owner: StoreOwner | None = None
        self._saved: dict[str, Any] = {}

    def database(self, alias: str, *, table: bool = True) -> None:
        """A database in a file of its own under this alias, with or without the outbox's table."""
        if alias in connections.databases:
            self._saved[alias] = connections.databases[alias], connections[alias]
        # what a process writes survives its death without it
        options = {"init_command": "PRAGMA synchronous=off"}
        file = str(self.folder / f"{alias}.sqlite3")
        entry = {**connections.databases["default"], "NAME": file, "OPTIONS": options}
        connections.databases[alias] = settings.DATABASES[alias] = entry
        connections[alias] = connections.create_connection(alias)
        with connections[alias].cursor() as cursor:
            cursor.execute("PRAGMA journal_mode=wal")
            cursor.execute("CREATE TABLE deed (n TEXT)")
        if table:
            with connections[alias].schema_editor() as editor:
                editor.create_model(OutboxItem)
        self._saved.setdefault(alias, None)

    def close(self) -> None:
        """Everything is as it was before."""
        if self._owner is not None:
            self._owner.close()
        for alias, saved in self._saved.items():
            connections[alias].close()
            if saved is None:
                del connections[alias], connections.databases[alias]
                settings.DATABASES.pop(alias, None)
            else:
                connections.databases[alias], connections[alias] = saved
                settings.DATABASES[alias] = saved[0]
        rows._sound.clear()

    @property
    def owner(self) -> StoreOwner:
        """The owner of the store, which this process is from now on."""
        if self._owner is None:
            self._owner = get_store().own()
        return self._owner

    def do(self, deed: Any, using: str = "default", **options: Any) -> str:
        """Write a deed and push its item, in the current transaction."""
        with connections[using].cursor() as cursor:
            cursor.execute("INSERT INTO deed VALUES (%s)", [str(deed)])
        return self.queue.push(str(deed), **{"outbox": using, **options})

    def deeds(self, *aliases: str) -> Counter[str]:
        """The deeds that committed."""
        found: Counter[str] = Counter()
        for alias in aliases or ("default",):
            with connections[alias].cursor() as cursor:
                cursor.execute("SELECT n FROM deed")
                found.update(n for (n,) in cursor.fetchall())
        return found

    def left(self, using: str = "default") -> int:
        """The rows of the outbox."""
        return OutboxItem.objects.using(using).count()

    def run(self) -> Counter[Any]:
        """Handle everything that is in the store; all that was ever handled, by payload."""
        while self.owner.prepare():
            pass
        while leases := self.owner.lease(self.queue.name, 100, "w1"):
            self.handled.update(decode_item(self.queue.name, lease.record).payload for lease in leases)
            assert not self.owner.finish([lease.execution for lease in leases])
        return self.handled

    def sweep(self, *aliases: str) -> Round:
        """One look of a sweeper that finds every row old enough."""
        return look(list(aliases or ("default",)), age=-1)

    def child(self, act: Callable[[], object]) -> int:
        """A process that does this and is gone without any cleanup; its pid."""
        for connection in connections.all(initialized_only=True):
            connection.close()
        pid = os.fork()
        return pid or _live(act)

    def dies(self, act: Callable[[], object]) -> None:
        """That process ran to its end, or died on the way."""
        os.waitpid(self.child(act), 0)


def _live(act: Callable[[], object]) -> NoReturn:
    code = 3
    try:
        with suppress(Exception):
            act()
            code = 0
    finally:
        os._exit(code)


def atomic(using: str = "default") -> Any:
    return transaction.atomic(using=using)


class _Undone(Exception):
    pass


@contextmanager
def undone(using: str = "default") -> Iterator[None]:
    """A transaction, or savepoint, that is rolled back."""
    with suppress(_Undone), transaction.atomic(using=using):
        yield
        raise _Undone
