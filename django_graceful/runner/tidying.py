"""Database connections between jobs, as Django keeps them between requests (``close_old_connections``,
``reset_queries``).

A connection that is too old, broken, or left in a transaction's ruins is closed before and after each job, in the
thread that ran it: each has a :class:`Tidier` of its own. Directly after another job the check before is left out: it
was made a moment ago. What a coroutine has from Django's ORM belongs to the thread of ``sync_to_async``.
"""

from __future__ import annotations

import asyncio
import time

from asgiref.sync import SyncToAsync, sync_to_async
from django.db import connections

#: Seconds after which a server may have dropped a connection that was good.
_FRESH = 0.5
#: Seconds that the thread of ``sync_to_async`` may be busy with what a job has left in it.
_PATIENCE = 1.0


class Tidier:
    """Remembers when the connections were last looked at."""

    def __init__(self) -> None:
        self._looked = 0.0

    @property
    def due(self) -> bool:
        """Whether that was long ago."""
        return time.monotonic() - self._looked > _FRESH

    def before(self) -> None:
        """A job begins."""
        if self.due:
            self.after()

    def after(self) -> None:
        """A job has ended."""
        for connection in connections.all(initialized_only=True):
            connection.queries_log.clear()
            connection.close_if_unusable_or_obsolete()
        self._looked = time.monotonic()


async def tidy_thread(tidier: Tidier) -> None:
    """As :meth:`Tidier.after`, in the thread of ``sync_to_async``, which ``tidier`` is for; nothing while nobody has
    used that. When it is busy, it does so later.
    """
    if SyncToAsync.single_thread_executor._threads:
        await asyncio.wait({asyncio.ensure_future(sync_to_async(tidier.after)())}, timeout=_PATIENCE)
