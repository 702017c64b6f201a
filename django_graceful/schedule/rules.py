"""Rules: which moments are ticks. Pure; a moment is whole seconds since the epoch, so no change of a clock's hands
(daylight saving) makes two ticks of one or one of two.

:class:`Every` counts from the epoch in UTC, so all nodes agree on its ticks without a word, also after a restart.
:class:`Cron` reads an expression in a time zone, with ``cronsim``: it is small, typed, kept well (as is ``croniter``,
which is several times its size), and does what Debian's cron does when clocks are changed: a job of a fixed time runs
once, also when that time comes twice; when it does not come at all, the job runs right after the gap; and what has a
``*`` or ``*/n`` as its minute or hour follows real time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from django_graceful.schedule.periods import parse_period, period_text

#: The stretch before now in which the latest tick is looked for first; each further one is twice as long.
_FIRST_STRETCH: Final = 60
_LAST_YEAR: Final = 9000


class Rule(Protocol):
    """What decides the ticks of a schedule."""

    def after(self, moment: int) -> int | None:
        """The first tick after ``moment``; None: there is none any more."""

    def latest(self, now: int, since: int) -> int | None:
        """The last tick that is after ``since`` and not after ``now``; None: there is none."""

    def __str__(self) -> str:
        """The rule for people."""


@dataclass(slots=True, frozen=True)
class Every:
    """A tick at every multiple of ``seconds`` since the epoch."""

    seconds: int

    def after(self, moment: int) -> int | None:
        return (moment // self.seconds + 1) * self.seconds

    def latest(self, now: int, since: int) -> int | None:
        found = now // self.seconds * self.seconds
        return found if found > since else None

    def __str__(self) -> str:
        return f"every {period_text(self.seconds)}"


@dataclass(slots=True, frozen=True)
class Cron:
    """Ticks where ``expression`` matches the clocks of ``zone``. Five fields, or six with seconds first."""

    expression: str
    zone: ZoneInfo

    def after(self, moment: int) -> int | None:
        start = datetime.fromtimestamp(moment, self.zone)
        if start.year > _LAST_YEAR:
            return None
        for found in CronSim(self.expression, start):
            tick = int(found.timestamp())
            if tick > moment:  # not so in an hour that comes twice
                return tick
        return None

    def latest(self, now: int, since: int) -> int | None:
        stretch = _FIRST_STRETCH
        while True:
            start = max(since, now - stretch)
            tick = self.after(start)
            if tick is not None and tick <= now:
                return self._last(tick, now)
            if start == since:
                return None
            stretch *= 2

    def _last(self, tick: int, now: int) -> int:
        while (later := self.after(tick)) is not None and later <= now:
            tick = later
        return tick

    def __str__(self) -> str:
        return f"cron {self.expression} ({self.zone.key})"


def make_every(period: Any) -> Every:
    """The rule for ``every``. Raises ``ValueError``."""
    return Every(parse_period(period))


def make_cron(expression: Any, zone: ZoneInfo) -> Cron:
    """The rule for ``cron``. Raises ``ValueError`` for an expression that is none or never matches."""
    example = "for example '*/5 * * * *' or '0 3 * * MON'"
    if not isinstance(expression, str):
        raise ValueError(f"must be a cron expression ({example}), not {expression!r}")
    try:
        comes = next(iter(CronSim(expression, datetime(2000, 1, 1, tzinfo=UTC))), None)
    except CronSimError as error:
        raise ValueError(f"must be a cron expression ({example}), not {expression!r}: {error}") from None
    if comes is None:
        raise ValueError(f"{expression!r} never comes")
    return Cron(" ".join(expression.split()), zone)


def find_zone(name: Any) -> ZoneInfo:
    """The time zone of that name. Raises ``ValueError``."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError, TypeError, AttributeError):
        raise ValueError(
            f"must be the name of a time zone, for example 'UTC' or 'Europe/Berlin', not {name!r}"
        ) from None
