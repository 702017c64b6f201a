"""What is lost and what is doubled when all workers are killed in the middle of a drain, and started again.

Most systems bring items back only after a while, so all of them wait at the same time, each in a database of its own.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.peers.catalog import System
from benchmarks.peers.checking import Verdict
from benchmarks.peers.places import Place, fresh_place

#: Items, and the seconds that each takes, so that something surely runs when the kill comes.
NUMBER, NAP = 300, 0.06

#: The part that is done at the kill: not a multiple of what anybody takes at once.
_PART = 0.47

#: Seconds without a new item after which a restarted system is left to itself.
_CALM = 4.0


@dataclass(slots=True, frozen=True)
class Aftermath:
    """How a system stood at the end."""

    verdict: Verdict
    #: Seconds from the restart to the last item that was handled.
    last: float
    #: Seconds from the restart to the moment at which it was looked at.
    waited: float


@dataclass(slots=True)
class _Trial:
    place: Place
    #: Wall clock: compared with the time at which the file was last written.
    restarted: float = 0.0

    def begin(self) -> None:
        """Push, drain, kill, restart, and wait until nothing moves any more."""
        self.place.produce("single", NUMBER)
        self.place.start()
        self.place.reach(self.place.marks, int(NUMBER * _PART), 30.0)
        time.sleep(NAP / 3)  # right after an item its worker may hold none; finding whom to kill takes a while too
        self.place.kill()
        self.restarted = time.time()
        self.place.start()
        try:
            self.place.reach(self.place.marks, NUMBER, _CALM)
        except TimeoutError:
            return

    def end(self, wait: float) -> Aftermath:
        """Look, that many seconds after the restart: also who is done early may still do something twice."""
        while (waited := time.time() - self.restarted) < wait:
            time.sleep(0.2)
        self.place.stop()
        return Aftermath(self.place.verdict(NUMBER), self.place.marks.stat().st_mtime - self.restarted, waited)


def kill(systems: Iterable[System], url: str, wait: float) -> dict[str, Aftermath]:
    """Kill the workers of each; ``wait`` is the shortest time in seconds that each gets to bring items back.

    A system that does not come as far as the kill is left out.
    """
    server = url.rsplit("/", 1)[0]
    trials: dict[str, _Trial] = {}
    with ExitStack() as places:
        for database, system in enumerate(systems):
            trial = _Trial(places.enter_context(fresh_place(system, f"{server}/{database}", NAP)))
            try:
                trial.begin()
                trials[system.name] = trial
            except TimeoutError as error:
                print(f"no kill test: {error}", file=sys.stderr)
        return {name: trial.end(wait) for name, trial in trials.items()}
