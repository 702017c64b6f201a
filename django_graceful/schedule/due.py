"""What to do now: the decision of a schedule, from its rule, its policy, the last tick that was decided, and the clock.

Pure. The clock may step. A step back by up to :data:`TRUSTED` seconds repeats nothing: there is no tick until the clock
has come past the last one again. If the last tick is further ahead than that, the clock was wrong when it was decided,
and the schedule starts over at the clock as it is. A step forward is as if no runner had run meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from django_graceful.schedule.rules import Rule
from django_graceful.schedule.spec import Missed

#: A tick that is decided that many seconds late is not called missed: a runner may restart.
LATE: Final = 60
#: Seconds by which the last tick may be ahead of the clock.
TRUSTED: Final = 3600


@dataclass(slots=True, frozen=True)
class Decision:
    """``last`` is the last tick that is decided now; ``run`` the one for which an item is pushed (None: none is)."""

    last: int
    run: int | None = None


def decide(rule: Rule, missed: Missed, last: int, now: int) -> Decision | None:
    """What becomes of the ticks after ``last`` and not after ``now``; None: nothing is due."""
    if last > now + TRUSTED:
        return Decision(now)
    latest = rule.latest(now, last)
    if latest is None:
        return None
    on_time = now - latest <= LATE
    return Decision(latest, latest if on_time or missed is Missed.ONCE else None)


def next_tick(rule: Rule, last: int, now: int) -> int | None:
    """When the next tick comes, as things stand; None: never. It is in the past when it is yet to be decided."""
    return rule.after(now if last > now + TRUSTED else last)
