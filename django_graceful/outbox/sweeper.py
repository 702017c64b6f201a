"""The sweeper: a process of the runner that looks into the outboxes every few seconds (promise P12).

It is forked by the fork server, as workers are, because the master opens no database; there is one in each runner, and
none when no database has the table. It may be killed at any time: what it does can be done again. It ends with the
master (end of the socket) and with the fork server (parent-death signal). After each round it writes
a byte, which says whether there was anything to do.
"""

from __future__ import annotations

import logging
import select
import socket
import time
from contextlib import suppress
from typing import Final

from django.db import DatabaseError, InterfaceError, close_old_connections, connections

from django_graceful.outbox import EVERY, rows
from django_graceful.outbox.sweeping import databases, forget, look

#: The words of the sweeper: a round found nothing, or something.
IDLE: Final = b"."
BUSY: Final = b"+"

logger = logging.getLogger("django_graceful.outbox")

#: Seconds between two times that stores are told what to forget, and after which a missing table is looked for again.
_FORGET_EVERY = 60.0


def sweep(sock: socket.socket) -> int:
    """The life of the sweeper; its exit code. Called in the forked child, which ends afterwards."""
    aliases = _with_table(databases())
    forget_at = time.monotonic() + _FORGET_EVERY / 10
    said: dict[str, str] = {}
    while aliases:
        found = look(aliases)
        for alias, error in found.errors.items():
            if said.get(alias) != error:
                logger.warning("outbox: the database %s can not be swept: %s", alias, error)
        said = found.errors
        if time.monotonic() >= forget_at:
            forget(found)
            aliases = _with_table(databases())
            forget_at = time.monotonic() + _FORGET_EVERY
        close_old_connections()
        if not _told(sock, BUSY if found.handed else IDLE) or _ended(sock):
            break
    connections.close_all()
    return 0


def _with_table(aliases: list[str]) -> list[str]:
    """Those that have the table, and those that can not be asked now: the rounds say what is wrong with them."""
    found = []
    for alias in aliases:
        try:
            if rows.has_table(alias):
                found.append(alias)
        except (DatabaseError, InterfaceError):
            found.append(alias)
    return found


def _told(sock: socket.socket, word: bytes) -> bool:
    with suppress(OSError):
        sock.send(word)
        return True
    return False


def _ended(sock: socket.socket) -> bool:
    """Wait for the next round. True: the master is gone."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(EVERY * 1000))
