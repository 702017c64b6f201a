"""What a runner has done so far, for the log, the summary line and the monitor; and the log lines themselves.

One line for each item that ended by itself; plain successes that ended together share a line, so that a flood of tiny
items does not drown the log.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Sequence

from django_graceful.items import HEADER, RUN_ONCE, Outcome, decode_header
from django_graceful.runner.figures import Figures
from django_graceful.runner.outcomes import SHUTDOWN
from django_graceful.stores.base import Ending, Lease

logger = logging.getLogger("django_graceful.runner")

_LEVELS = {
    Outcome.DONE: logging.INFO,
    Outcome.RETRY: logging.WARNING,
    Outcome.DEAD: logging.ERROR,
    Outcome.CRASHED: logging.ERROR,
    Outcome.CANCELLED: logging.INFO,
    Outcome.INTERRUPTED: logging.INFO,
}


def item_id(lease: Lease) -> str:
    """The id of a leased item, as people see it; ``?`` when the record is damaged."""
    return lease.record[HEADER.size - 16 : HEADER.size].hex() if len(lease.record) >= HEADER.size else "?"


class Tally:
    """Counts of outcomes since the runner started."""

    def __init__(self, max_crashes: int = 3) -> None:
        self._max_crashes = max_crashes
        self.outcomes: Counter[Outcome] = Counter()
        self.returned = 0
        self.killed = 0
        #: Runs that were stopped by a shutdown.
        self.interrupted = 0
        #: By queue; of this store only, they are not added up.
        self.figures: defaultdict[str, Figures] = defaultdict(Figures)

    def __add__(self, other: Tally) -> Tally:
        both = Tally()
        both.outcomes = self.outcomes + other.outcomes
        both.returned = self.returned + other.returned
        both.killed = self.killed + other.killed
        both.interrupted = self.interrupted + other.interrupted
        return both

    def done(self, queue: str, leases: Sequence[Lease], seconds: float) -> None:
        """These ended as plain successes; ``seconds`` is the time that they took together."""
        self.outcomes[Outcome.DONE] += len(leases)
        self.figures[queue].outcomes[Outcome.DONE] += len(leases)
        if not logger.isEnabledFor(logging.INFO):
            return
        if len(leases) == 1:
            logger.info("%s %s done in %s", queue, item_id(leases[0]), _span(seconds))
        else:
            logger.info("%s: %d items done in %s", queue, len(leases), _span(seconds))

    def took(self, queue: str, leases: Sequence[Lease], runs: int, seconds: float) -> None:
        """These have just been run, in so many runs that took ``seconds`` together, whatever their outcomes."""
        self.figures[queue].took(leases, runs, seconds, time.time())

    def ended(self, queue: str, lease: Lease, ending: Ending) -> None:
        """This one ended in another way."""
        outcome = self.final(lease, ending.outcome)
        self.outcomes[outcome] += 1
        figures = self.figures[queue]
        figures.outcomes[outcome] += 1
        figures.crashes += ending.outcome is Outcome.CRASHED
        self.interrupted += outcome is Outcome.INTERRUPTED and ending.reason == SHUTDOWN
        logger.log(_LEVELS[outcome], "%s %s %s%s", queue, item_id(lease), _VERBS[outcome], _why(ending))

    def final(self, lease: Lease, outcome: Outcome) -> Outcome:
        """What the store makes of ``outcome``: an item that must not run twice, or crashed too often, is dead."""
        if outcome not in (Outcome.CRASHED, Outcome.INTERRUPTED):
            return outcome
        header = decode_header(lease.record)
        worn_out = outcome is Outcome.CRASHED and header.crashes + 1 >= self._max_crashes
        return Outcome.DEAD if worn_out or header.flags & RUN_ONCE else outcome

    def summary(self) -> str:
        """One line about everything that ended."""
        counts = [
            f"{self.outcomes[outcome]} {word}"
            for outcome, word in _SUMMARY
            if self.outcomes[outcome] or outcome is Outcome.DONE
        ]
        counts.append(f"{self.returned} given back unstarted")
        counts.append(f"{self.killed} killed")
        return ", ".join(counts)


_VERBS = {
    Outcome.DONE: "done",
    Outcome.RETRY: "failed, will be tried again",
    Outcome.DEAD: "is dead",
    Outcome.CRASHED: "lost its worker, back to the front",
    Outcome.CANCELLED: "cancelled",
    Outcome.INTERRUPTED: "interrupted, back to the front",
}
_SUMMARY = (
    (Outcome.DONE, "done"),
    (Outcome.RETRY, "to be tried again"),
    (Outcome.DEAD, "dead"),
    (Outcome.CANCELLED, "cancelled"),
    (Outcome.CRASHED, "crashed"),
    (Outcome.INTERRUPTED, "interrupted"),
)


def _why(ending: Ending) -> str:
    error = ending.error or {}
    what = ending.reason or ": ".join(filter(None, (str(error.get("type", "")), str(error.get("message", "")))))
    when = f" in {_span(ending.delay)}" if ending.outcome is Outcome.RETRY else ""
    return when + (f": {what:.300}" if what else "")


def _span(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"
