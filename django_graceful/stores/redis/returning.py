"""What comes back: leases of a seat's former owner, of hosts that are gone, and those that we never heard of.

Each item is decided upon here, from what the server says of it, and moved by ``end.lua``, which looks again: of several
owners who bring the same item back one does it.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import groupby
from typing import Final

from django_graceful.items import Outcome
from django_graceful.stores.engine import fates
from django_graceful.stores.engine.fates import Rules
from django_graceful.stores.redis import ending, reading
from django_graceful.stores.redis.ending import End
from django_graceful.stores.redis.line import Line
from django_graceful.stores.redis.packing import split
from django_graceful.stores.redis.reading import Seen
from django_graceful.stores.values import Ending, Witness

#: Leases that ran out are looked at so many at a time.
_RESCUE: Final = 1000
_EVERY: Final = 1 << 31
_WORDS: Final = {Outcome.DONE: "done", Outcome.CRASHED: "crashed", None: "not started"}


class Returning:
    """Brings items back. What it says is for the log."""

    def __init__(self, line: Line, seat: str, max_crashes: int) -> None:
        self._line = line
        self._seat = seat
        self._max_crashes = max_crashes

    def recover(self, queue: str, witness: Witness | None) -> list[str]:
        """What a former owner of this seat had leased, as far as its workers came."""
        found = sorted(self._leased(queue, self._seat), key=lambda seen: (seen.who, seen.execution))
        return [self._settle(queue, who, list(group), witness) for who, group in groupby(found, lambda seen: seen.who)]

    def rescue(self, queue: str, now: int) -> list[str]:
        """What somebody had leased whose sign of life did not come: one crash more. Empty: there was nothing."""
        rules = Rules(now, self._max_crashes)
        ends = []
        for seen in self._leased(queue, ""):
            seat, _, worker = seen.who.partition("\0")
            reason = f"the lease of {worker} at {seat} ran out"
            ends.append(ending.by(Ending(seen.execution, Outcome.CRASHED, reason=reason), seen.id, seen.record, rules))
        came_back = len(ends) - len(self._end(queue, ends, mode=b"expired"))
        if not came_back:
            return []
        return [f"queue {queue}: {came_back} leases ran out, their runner is gone or can not reach redis"]

    def give_back_unknown(self, queue: str, known: Collection[int]) -> None:
        """Items that were leased to us in an answer that never came go back: they were never started."""
        found = [seen for seen in self._leased(queue, self._seat) if seen.execution not in known]
        self._end(queue, [ending.released(seen.execution, seen.id, seen.record) for seen in found])

    def _settle(self, queue: str, who: str, leases: list[Seen], witness: Witness | None) -> str:
        """End what one worker had; in words."""
        worker = reading.worker_of(who)
        progress = witness(worker) if witness is not None else None
        rules = Rules(self._line.now(), self._max_crashes)
        outcomes = [fates.verdict(progress, seen.execution, seen.record) for seen in leases]
        ends = []
        for seen, outcome in zip(leases, outcomes, strict=True):
            if outcome is None:
                ends.append(ending.released(seen.execution, seen.id, seen.record))
            else:
                ends.append(ending.by(Ending(seen.execution, outcome), seen.id, seen.record, rules))
        self._end(queue, ends)
        said = [f"{outcomes.count(outcome)} {word}" for outcome, word in _WORDS.items() if outcome in outcomes]
        return f"leased by {worker}, which is gone: {', '.join(said)}"

    def _leased(self, queue: str, seat: str) -> list[Seen]:
        """What is leased to a seat; without one: all whose lease has run out."""
        pieces = split(self._line.run("leased", queue, seat.encode(), _EVERY if seat else _RESCUE))
        return [reading.leased(queue, piece) for piece in pieces]

    def _end(self, queue: str, ends: list[End], mode: bytes = b"") -> set[int]:
        return ending.end(self._line, queue, [], ends, {}, mode=mode).refused if ends else set()
