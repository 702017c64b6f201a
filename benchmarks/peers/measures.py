"""Pushes, a drain, and the latency of an idle system: one round for one system."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.peers.catalog import System
from benchmarks.peers.checking import length, written
from benchmarks.peers.places import Place, fresh_place

#: Latencies that are measured in a round, after those that warm the system up.
LATE, _WARM = 100, 10

#: Seconds without a new item after which a drain is given up.
_STALL = 30.0


@dataclass(slots=True)
class Found:
    """What was measured of a system, one value for each round."""

    push: list[float] = field(default_factory=list)
    bulk: list[float] = field(default_factory=list)
    drain: list[float] = field(default_factory=list)
    #: Of all rounds together, in milliseconds.
    delays: list[float] = field(default_factory=list)
    #: Rounds whose drain does not count, and why.
    void: list[str] = field(default_factory=list)


def measure(system: System, url: str, number: int, found: Found) -> None:
    """One round: ``number`` items pushed singly; the same in bulk, if the system can; drained by two workers; then
    single ones on the system that has become idle.
    """
    with fresh_place(system, url) as place:
        found.push.append(place.produce("single", number))
        if system.bulk:
            place.empty()
            found.bulk.append(place.produce("many", number))
        place.start()
        try:
            drained = _drain(place, number)
            delays = _delays(place)
        except TimeoutError as error:
            found.void.append(str(error))
            return
        place.stop()
        verdict = place.verdict(number)
        if not verdict.exact:
            found.void.append(str(verdict))
            return
    found.drain.append(drained)
    found.delays += delays


def _drain(place: Place, number: int) -> float:
    begin = place.reach(place.marks, 1, _STALL)
    first = length(place.marks)
    return (number - first) / (place.reach(place.marks, number, _STALL) - begin)


def _delays(place: Place) -> list[float]:
    place.produce("late", _WARM + LATE)
    place.reach(place.delays, _WARM + LATE, _STALL)
    return [nanoseconds / 1e6 for nanoseconds in written(place.delays)[_WARM:]]
