"""What an owner knows of its queues without asking: each step's answer says how the queue stands after it.

So a busy runner asks nothing in between. It asks all queues once a second, those that a producer has called for, and
those of which something is due; with no calls to hear, all of them every time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from struct import Struct
from typing import Final, NamedTuple

from django_graceful.items import micros
from django_graceful.stores.redis.line import Line

#: Seconds after which every queue is asked: a call that got lost is late by that much.
STALE: Final = 1.0
_FORM = Struct("<ddddd")


class Standing(NamedTuple):
    """How a queue stood, in numbers: see ``snapshot`` in ``common.lua``."""

    now: float
    ready: float
    due: float
    expires: float
    wished: float


class Lanes:
    """The queues of one store. Used by the owner's thread."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._known: dict[str, Standing] = {}
        self._touched: set[str] = set()
        self._heeded: dict[str, float] = {}
        self._asked_at = -STALE
        #: The server's clock minus ours, in seconds.
        self._ahead = 0.0

    def learn(self, queue: str, snapshot: bytes) -> None:
        """A step has told how the queue stands."""
        standing = self._known[queue] = Standing(*_FORM.unpack(snapshot))
        self._touched.discard(queue)
        if not self._line.has_own_clock:
            self._ahead = standing.now / 1e6 - time.time()

    def forget(self) -> None:
        """Nothing that was known is true any more."""
        self._known.clear()
        self._heeded.clear()
        self._touched.clear()
        self._asked_at = -STALE

    def touch(self, queue: str) -> None:
        """Something has changed there; ask before it is told."""
        self._touched.add(queue)

    def now(self) -> int:
        """The server's time, in µs, as far as it is known."""
        return self._line.now() if self._line.has_own_clock else micros(time.time() + self._ahead)

    def told(self) -> int:
        """The server's time, in µs; asked for while no queue has told it yet."""
        return self.now() if self._known else self._line.now()

    def prepare(self, heard: Iterable[str] | None, limit: int) -> bool:
        """Make ready what is due, and learn how the queues stand. True: more is due.

        ``heard`` are queues that were called for; None: nobody listens.
        """
        moment = time.monotonic()
        if heard is None or moment - self._asked_at >= STALE:
            self._asked_at = -STALE  # until it has worked
            self._touched.update(self._line.names())
            more = self._ask(list(self._touched), limit)
            self._asked_at = moment
            return more
        self._touched.update(heard, self._in_time())  # if asking fails, they are asked the next time
        return self._ask(list(self._touched), limit)

    def ready(self) -> dict[str, int]:
        """How many items of each queue can be leased."""
        self._ask(list(self._touched), 0)
        return {queue: int(standing.ready) for queue, standing in self._known.items() if standing.ready > 0}

    def next_due(self) -> float | None:
        """When (seconds, on our clock) the next item is due."""
        self._ask(list(self._touched), 0)
        first = min((standing.due for standing in self._known.values() if standing.due), default=None)
        return None if first is None else first / 1e6 - self._ahead

    def expired(self) -> list[str]:
        """Queues of which a lease had run out when they were last asked."""
        return [queue for queue, at in self._known.items() if 0 < at.expires <= at.now]

    def wished(self) -> list[str]:
        """Queues in which somebody was asked to stop since :meth:`heeded`."""
        self._ask(list(self._touched), 0)
        return [queue for queue, at in self._known.items() if at.wished != self._heeded.get(queue, 0.0)]

    def heeded(self, queue: str) -> None:
        """The wishes of this queue have been read."""
        self._heeded[queue] = self._known[queue].wished

    def _in_time(self) -> list[str]:
        now = self.now()
        return [queue for queue, at in self._known.items() if 0 < at.due <= now or 0 < at.expires <= now]

    def _ask(self, queues: list[str], limit: int) -> bool:
        moved = 0
        answers = self._line.run_each([("prepare", queue, (limit,)) for queue in queues])
        for queue, (snapshot, number) in zip(queues, answers, strict=True):
            self.learn(queue, snapshot)
            moved = max(moved, number)
        return limit > 0 and moved >= limit
