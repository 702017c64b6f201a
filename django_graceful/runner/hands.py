"""What a worker holds: the units that it was given and has not ended, with the tokens that allow them.

Runs in the master's loop. A unit that is still in the token pipe has not begun; reading its token takes it back, and
the kernel gives each token to one side only. What has begun, and what of it has ended, the slate says.
"""

from __future__ import annotations

import fcntl
import math
import os
import termios
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from itertools import islice
from typing import NamedTuple

from django_graceful.items import TIMED, limit_of
from django_graceful.runner.slate import Slate, Word
from django_graceful.runner.wire import Done, Ended, Unit, encode_work
from django_graceful.stores.base import Lease


class Run(NamedTuple):
    """A unit that a worker has begun and not ended."""

    unit: Unit
    #: Monotonic nanoseconds of its beginning; 0: it has its token, and begins in a moment.
    since: int

    @property
    def seconds(self) -> float:
        """How long it runs."""
        return (time.monotonic_ns() - self.since) / 1e9 if self.since else 0.0


class Hands:
    """The units of one worker, in the order in which it begins them."""

    def __init__(self, slate: Slate) -> None:
        self.units: deque[Unit] = deque()
        #: The shortest time that any of them may run, in seconds.
        self.shortest = math.inf
        #: When it was given something with empty hands, or ended something; when its hands became empty (monotonic).
        self.moved_at = self.idle_since = time.monotonic()
        self.tokens, self._tokens_w = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._slate = slate
        self._epoch = 0

    def give(
        self, queue: str, leases: Sequence[Lease], send: Callable[[bytes], None], *, batch: bool, timeout: float | None
    ) -> None:
        """Hold these, one batch or as many units as there are leases. ``timeout`` is for items without their own."""
        if not self.units:
            self.moved_at = time.monotonic()
            self.shortest = math.inf
        epoch = self._epoch
        parts = [list(leases)] if batch else [[lease] for lease in leases]
        limits = limits_of(parts, timeout)
        self.shortest = min([self.shortest, *{limit for limit in limits if limit is not None}])
        self.units.extend([Unit(epoch, queue, batch, *unit) for unit in zip(parts, limits, strict=True)])
        send(encode_work(epoch, queue, leases, batch=batch))
        os.write(self._tokens_w, bytes([epoch]) * len(parts))

    def take_back(self) -> list[Lease]:
        """Take back every unit that has not begun; their leases, in order."""
        try:
            count = len(os.read(self.tokens, 1 << 16))
        except BlockingIOError:
            return []
        self._epoch = (self._epoch + 1) & 0xFF
        units = [self.units.pop() for _ in range(count)]
        return [lease for unit in reversed(units) for lease in unit.leases]

    def unbegun(self) -> int:
        """How many units have not begun: so many tokens lie in the pipe (FIONREAD)."""
        return int.from_bytes(fcntl.ioctl(self.tokens, termios.FIONREAD, b"\0\0\0\0"), "little")

    def runs(self) -> list[Run]:
        """What runs now, or begins in a moment, oldest first."""
        begun = len(self.units) - self.unbegun()
        words = self._slate.words
        finished = words[Word.FINISHED]  # read before the seats: who has no seat by then has left it
        seats = self._slate.seats()
        since = seats or {words[Word.STARTED]: words[Word.SINCE]}
        return [
            Run(unit, since.get(unit.last, 0))
            for unit in islice(self.units, max(0, begun))
            if unit.last > finished or unit.last in seats
        ]

    def settle(self, said: Done | Ended) -> list[Lease]:
        """The worker said that these have ended; their leases."""
        if isinstance(said, Ended):
            return self.settle_these(said.executions)
        settled: list[Lease] = []
        units = self.units
        while units and units[0].last <= said.upto:
            settled += units.popleft().leases
        self._moved()
        return settled

    def settle_these(self, executions: Collection[int]) -> list[Lease]:
        """The units of these executions (each a unit's last) have ended; their leases."""
        ended, units = frozenset(executions), self.units
        settled = [lease for unit in units if unit.last in ended for lease in unit.leases]
        left = [unit for unit in units if unit.last not in ended]
        units.clear()
        units.extend(left)
        self._moved()
        return settled

    def find(self, execution: int) -> Unit | None:
        """The unit that has this execution."""
        return next((unit for unit in self.units if unit.has(execution)), None)

    def close(self) -> None:
        """Let go of the pipe."""
        os.close(self.tokens)
        os.close(self._tokens_w)

    def _moved(self) -> None:
        self.moved_at = time.monotonic()
        if not self.units:
            self.idle_since = self.moved_at


def limits_of(parts: Sequence[Sequence[Lease]], timeout: float | None) -> Sequence[float | None]:
    """For each unit the seconds that it may run: where no item has a time of its own, ``timeout`` for all of them."""
    if any(lease.record[1] & TIMED for part in parts for lease in part):
        return [limit_of((lease.record for lease in part), timeout) for part in parts]
    return [timeout] * len(parts)
