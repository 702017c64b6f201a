"""When a worker that is asked to stop does what; pure.

gunicorn kills a worker ``graceful_timeout`` after TERM, two seconds after a hurried stop (INT, QUIT), and one second
after ABRT (``timeout``, unless the worker shows that it lives). Every step of ours comes before that. At a reload or
after ``max_requests`` gunicorn kills nobody: there our times are the only limit.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from enum import Enum

#: Seconds from the hammer to gunicorn's SIGKILL, or half of ``graceful_timeout``: for subprocesses to heed TERM, for
#: views to clean up and answer, and for a worker to leave, which takes most of a second on a busy machine.
MARGIN = 2.5
#: Seconds that a hurried stop may take. The arbiter's limit is two.
HURRY = 1.7
#: Seconds between our own exit and gunicorn's SIGKILL: for ``at_terminate`` hooks and stores.
LAST = 0.3
#: Seconds after the hammer in which a cancelled process asks its own subprocesses to end, before everything is asked.
OWN_MOVE = 0.15
#: Seconds after a ``timeout`` for cleaning up, on top of those that subprocesses have.
BLOCKED_EXTRA = 1.0


class Cause(Enum):
    """Why a worker stops."""

    #: TERM, or it has left its loop by itself: ``max_requests``, a changed file, the arbiter is gone.
    ASKED = "asked"
    #: INT or QUIT: at once.
    HURRIED = "hurried"
    #: ABRT: it has shown no life for ``timeout`` seconds.
    BLOCKED = "blocked"


class Step(Enum):
    """What is done, in this order."""

    DRAIN = 0
    #: Running work is cancelled.
    HAMMER = 1
    #: Subprocesses that nobody has asked to end are asked.
    ASK = 2
    #: All subprocesses are killed.
    KILL = 3
    #: The worker is gone by now, or it is ended.
    EXIT = 4


@dataclass(slots=True, frozen=True)
class Limits:
    """The numbers of one worker, in seconds."""

    #: gunicorn's ``graceful_timeout``.
    graceful: float
    #: ``KILL_AFTER``.
    kill_after: float
    #: How long it may take the worker to see that its last request is over.
    slack: float = 0.0

    @property
    def hammer_after(self) -> float:
        """From the first stop signal to the hammer."""
        return max(self.graceful - MARGIN, self.graceful / 2)


@dataclass(slots=True, frozen=True)
class Timetable:
    """When each step is due, on the clock of its maker; infinity for a worker that nobody has asked to stop."""

    drain_at: float = math.inf
    hammer_at: float = math.inf
    ask_at: float = math.inf
    kill_at: float = math.inf
    exit_at: float = math.inf

    def at(self, step: Step) -> float:
        """When that step is due."""
        times: tuple[float, ...] = astuple(self)
        return times[step.value]

    def sooner(self, other: Timetable) -> Timetable:
        """Of each step the earlier time."""
        return Timetable(*map(min, astuple(self), astuple(other)))


def plan(cause: Cause, now: float, limits: Limits) -> Timetable:
    """The timetable of a worker that is to stop for this cause."""
    hammer_in, exit_in = _spans(cause, limits)
    hammer = now + hammer_in
    kill_in = min(limits.kill_after, max(0.0, exit_in - limits.slack - hammer_in) / 2)
    return Timetable(now, hammer, hammer + min(OWN_MOVE, kill_in), hammer + kill_in, now + exit_in)


def _spans(cause: Cause, limits: Limits) -> tuple[float, float]:
    """Seconds until hammer and exit."""
    if cause is Cause.ASKED:
        return limits.hammer_after, limits.graceful - min(LAST, limits.graceful / 10)
    if cause is Cause.HURRIED:
        return 0.0, min(HURRY, limits.graceful)
    return 0.0, limits.kill_after + BLOCKED_EXTRA
