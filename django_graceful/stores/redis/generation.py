"""Noticing that the data of the server is gone: FLUSHALL, FLUSHDB, or a restart without its file.

A random text stands beside the queues. Whoever finds it missing or another one than before says so, loudly, and the
store starts anew: what ran is refused when it ends, what waited is lost.
"""

from __future__ import annotations

import logging
import secrets
import time
from typing import Final

from django_graceful.stores.redis.errors import translated
from django_graceful.stores.redis.line import Line

logger = logging.getLogger("django_graceful.stores")

#: Seconds between two looks.
EVERY: Final = 1.0


class Generation:
    """What one owner knows of it."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._key = f"{line.space}:generation"
        self._known: bytes | None = None
        self._look_at = 0.0

    def lost(self) -> bool:
        """Whether the data has gone since the last look. Raises :class:`~django_graceful.exceptions.StoreError`."""
        if time.monotonic() < self._look_at:
            return False
        found = self._read()
        self._look_at = time.monotonic() + EVERY
        known, self._known = self._known, found
        if known in (None, found):
            return False
        logger.critical(
            "%s: the queues are gone: somebody has emptied the database (FLUSHALL, FLUSHDB, cache.clear()), or the "
            "server came back without its data. What waited is lost, what runs will be refused; starting anew",
            self._line.place,
        )
        return True

    def _read(self) -> bytes:
        with translated(self._line.place):
            client = self._line.client
            found: bytes | None = client.get(self._key)
            if found is None:
                client.set(self._key, secrets.token_hex(8), nx=True)
                found = client.get(self._key)
        return found or b""
