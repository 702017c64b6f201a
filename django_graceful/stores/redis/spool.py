"""The spool: where pushes wait on this host while the server can not be reached (``SPOOL``; promise P1).

It is the inbox of a LevelDB store without the store: a push that returned survives the death of every process. What is
in it is handed over by whoever comes first: the next push of a process on this host that succeeds, or its runner; each
holds a lock for so long. An item is handed over under its id, so one that the server has already is not added again;
one that has already been handled (its push's answer was lost, or the death of a process came between handing over and
noting that) may run twice. Other pushes may overtake what waits here.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

from django_graceful.exceptions import StoreUnavailable
from django_graceful.items import id_of
from django_graceful.stores.leveldb.files import explain
from django_graceful.stores.leveldb.inbox import Inbox
from django_graceful.stores.leveldb.intake import Intake

logger = logging.getLogger("django_graceful.stores")

#: Seconds for which pushes go straight into the spool once the server could not be reached.
RETRY: Final = 1.0
#: Items handed over in one go.
STRETCH: Final = 1000
_LOCK, _OFFSETS = "handover.lock", "offsets"

Push = Callable[[str, Sequence[bytes]], list[bytes]]


class Spool:
    """The spool in ``directory``. Safe for threads and forks; opens nothing before it is needed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._inbox = Inbox(directory)
        self._down_until = 0.0
        #: Something may wait here: this process has put it here, or has not looked yet.
        self._holds = True

    def push(self, queue: str, records: Sequence[bytes], limit: int, push: Callable[..., list[bytes]]) -> list[bytes]:
        """``push(queue, records, limit)``, or keep the records here; their ids. Raises what ``push`` raises, but for
        :class:`~django_graceful.exceptions.StoreUnavailable`, which is raised when there is no room here either.
        """
        if time.monotonic() >= self._down_until:
            try:
                ids = push(queue, records, limit)
            except StoreUnavailable as error:
                logger.warning("%s; pushes wait in %s until it is back", error, self._directory)
                self._down_until = time.monotonic() + RETRY
            else:
                if self._holds:
                    self._relieve(lambda name, some: push(name, some, 0))
                return ids
        self._inbox.append(queue, records)
        self._holds = True
        return [id_of(record) for record in records]

    def hand_over(self, push: Push) -> bool:
        """Give a stretch of what waits here to ``push``. True: there is more.

        Raises what ``push`` raises (nothing is lost then), and
        :class:`~django_graceful.exceptions.StoreUnavailable` for what files can say.
        """
        if not self._directory.is_dir():
            return False
        try:
            fd = os.open(self._directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise explain(error, self._directory, "hand the spool over") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return self._hand_over(push)
        except BlockingIOError:  # somebody else does it
            return False
        finally:
            os.close(fd)

    def backlog(self) -> int:
        """How many bytes wait here, about."""
        offsets, waiting = self._offsets(), 0
        with suppress(FileNotFoundError):
            for path in (self._directory / "inbox").glob("*.log"):
                waiting += path.stat().st_size
        return max(0, waiting - sum(offsets.values()))

    def close(self) -> None:
        """Let go of the files; the next push opens them again."""
        self._inbox.close()

    def _relieve(self, push: Push) -> None:
        """After a push that has worked: what waits here follows. What goes wrong is not that push's fault."""
        try:
            self._holds = self.hand_over(push)
        except StoreUnavailable as error:
            logger.warning("what waits in %s can not be handed over yet: %s", self._directory, error)

    def _hand_over(self, push: Push) -> bool:
        offsets = self._offsets()
        intake = Intake(self._directory)
        try:
            intake.open(offsets)
            taken = intake.read(STRETCH)
            for word in taken.damage:
                logger.error("%s", word)
            for queue, entries in groupby(taken.entries, itemgetter(0)):
                push(queue, [record for _, record in entries])
            if taken.positions:
                offsets |= taken.positions
                self._note(offsets)
                for gone in intake.advance():
                    offsets.pop(gone, None)
                self._note(offsets)
        finally:
            intake.close()
        if taken.entries:
            logger.info("%d items that waited in %s are handed over", len(taken.entries), self._directory)
        return taken.more

    def _offsets(self) -> dict[bytes, int]:
        try:
            found: dict[str, Any] = json.loads((self._directory / _OFFSETS).read_bytes())
            return {bytes.fromhex(name): int(offset) for name, offset in found.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}

    def _note(self, offsets: dict[bytes, int]) -> None:
        """How far it has been handed over; replaced in one step."""
        fresh = self._directory / f"{_OFFSETS}.new"
        try:
            fresh.write_text(json.dumps({name.hex(): offset for name, offset in offsets.items()}))
            os.replace(fresh, self._directory / _OFFSETS)
        except OSError as error:
            raise explain(error, self._directory, "hand the spool over") from error
