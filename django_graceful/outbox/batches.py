"""Handing over when a transaction has committed: all that was pushed in it, in one go.

Runs in the thread of the transaction, as one of its ``on_commit`` callbacks: the first that is called does it for all.
Callbacks of savepoints that were rolled back are never called, but their rows are gone, too; so unless there was one
push only, the table is asked what has committed. Never raises: the commit stands, and the rows are safe.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

from django.db import DatabaseError, InterfaceError, connections

from django_graceful.outbox import FRESH, rows
from django_graceful.outbox.delivery import clock, deliver
from django_graceful.outbox.rows import Row

logger = logging.getLogger("django_graceful.outbox")

#: So many rows are remembered of one transaction; those behind them are a batch of their own.
_MOST: Final = 1000
_NAME: Final = "graceful_outbox"

#: Told the ids of what is in the store now.
Told = Callable[[list[bytes]], None]


class Batch:
    """What was pushed in one transaction, or in several of which all but the last were rolled back."""

    def __init__(self, using: str) -> None:
        self._using = using
        self._pushes: list[tuple[Sequence[Row], Told]] = []
        self._written = 0.0
        self.size = 0
        self.over = False

    def add(self, written: Sequence[Row], told: Told) -> None:
        """Rows that were written in the current transaction; ``told`` is called once they are in the store."""
        self._pushes.append((written, told))
        self._written = clock()
        self.size += len(written)

    def hand_over(self) -> None:
        """The transaction has committed."""
        if self.over:
            return
        self.over = True
        try:
            self._hand_over([row for written, _ in self._pushes for row in written])
        except (DatabaseError, InterfaceError) as error:
            logger.warning("outbox of %s: %s; a runner hands over what is left", self._using, error)

    def _hand_over(self, written: list[Row]) -> None:
        until = self._written + FRESH
        if len(self._pushes) > 1 or clock() > until:
            until = clock() + FRESH
            committed = rows.present(self._using, [row.id for row in written])
            written = [row for row in written if row.id in committed]
        delivered = {row.id: None for row in deliver(written, until)}
        if delivered:
            rows.delete(self._using, list(delivered))
            self._tell(delivered)

    def _tell(self, delivered: dict[bytes, None]) -> None:
        for written, told in self._pushes:
            ids = [row.id for row in written if row.id in delivered]
            if ids:
                told(ids)


def current(using: str) -> Batch:
    """The batch of this thread's connection to that database."""
    attributes = vars(connections[using])
    found = attributes.get(_NAME)
    if not isinstance(found, Batch) or found.over or found.size >= _MOST:
        found = attributes[_NAME] = Batch(using)
    return found
