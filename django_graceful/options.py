"""What can be said of a queue: the options of ``@queue`` and their names in ``GRACEFUL["QUEUES"]``.

Every value that a site writes is checked here, in one place: a converter gives it in its final form or raises
``ValueError`` that says what it must be.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from datetime import timedelta
from difflib import get_close_matches
from typing import Any, Final, Literal

Unique = Literal["queued", "finished"]
Convert = Callable[[Any], Any]

#: The longest time that a setting or an option may name, in seconds: what is longer is a slip of units.
YEAR: Final = 366 * 86_400.0
#: The most items that one worker runs at the same time.
MOST_THREADS: Final = 100
#: The longest delay of an item, in seconds.
MAX_DELAY: Final = 100 * YEAR


def processors() -> int:
    """The processors this process may use."""
    return len(os.sched_getaffinity(0))


@dataclass(slots=True, frozen=True, kw_only=True)
class Options:
    """The options of one queue. Times are seconds."""

    #: Worker processes that run items of this queue at the same time, in one runner. 0: the processors, at most 10.
    max_workers: int = 0
    #: Items that one worker runs at the same time: each in a thread of its own, or, when the handler is ``async def``,
    #: each as a task of one event loop. So ``max_workers * threads`` over all. Above 1, not with ``batch_length``.
    threads: int = 1
    #: Above 1 the handler gets a list of up to that many payloads and returns those it could not handle.
    batch_length: int = 1
    #: How long an unfilled batch waits for more.
    batch_wait: float = 0.1
    #: Runs that may fail before the item is dead.
    max_attempts: int = 5
    #: The wait after the first failed attempt; it doubles with each further one, up to ``backoff_max``.
    backoff: float = 2.0
    backoff_max: float = 3600.0
    #: The longest that one run may take; None: as long as it likes.
    timeout: float | None = None
    unique: Unique | None = None
    #: The most items that may wait; None: ``GRACEFUL["LENGTH"]``.
    length: int | None = None
    priority: int = 0
    #: False: an item that was interrupted or whose worker died is set aside as dead, never run again by itself.
    rerun: bool = True
    store: str = "default"
    #: Write what is pushed in a transaction into it: of the default database, or of the one named.
    outbox: bool | str = False
    #: Run the handler inside ``push``: for tests.
    immediate: bool = False

    def __post_init__(self) -> None:
        """Raises ``ValueError`` for options that can not go together."""
        if self.threads > 1 and self.batch_length > 1:
            raise ValueError(f"threads={self.threads} and batch_length={self.batch_length} do not go together")

    @property
    def workers(self) -> int:
        """``max_workers`` with its default filled in."""
        return self.max_workers or max(1, min(10, processors()))


#: The key in ``GRACEFUL["QUEUES"][name]`` for each option.
OVERRIDES = {field.name.upper(): field.name for field in fields(Options)}


def is_number(value: Any) -> bool:
    """A finite int or float; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def is_whole(value: Any) -> bool:
    """An int; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def whole(least: int, most: int = 1 << 31) -> Convert:
    """A converter for whole numbers from ``least`` to ``most``."""

    def convert(value: Any) -> Any:
        if not is_whole(value) or not least <= value <= most:
            raise ValueError(f"must be a whole number from {least} to {most}, not {value!r}")
        return value

    return convert


def seconds(least: float) -> Convert:
    """A converter for times from ``least`` seconds to a year, given as a number or a ``timedelta``."""

    def convert(value: Any) -> Any:
        number = value.total_seconds() if isinstance(value, timedelta) else value
        if not is_number(number) or not least <= number <= YEAR:
            raise ValueError(f"must be a number of seconds from {least:g} to {YEAR:.0f} (a year), not {value!r}")
        return float(number)

    return convert


def optional(convert: Convert) -> Convert:
    """The same converter, which also takes None."""
    return lambda value: None if value is None else convert(value)


def one_of(*known: Any) -> Convert:
    """A converter that takes these values and no other, of these types."""

    def convert(value: Any) -> Any:
        if not any(type(value) is type(k) and value == k for k in known):
            raise ValueError(f"must be one of {', '.join(map(repr, known))}, not {value!r}")
        return value

    return convert


def _name(value: Any) -> Any:
    if not isinstance(value, str) or not value:
        raise ValueError(f"must be a name, not {value!r}")
    return value


def _yes_no_or_name(value: Any) -> Any:
    if not isinstance(value, bool | str) or value == "":
        raise ValueError(f"must be True, False or the alias of a database, not {value!r}")
    return value


_CONVERT: dict[str, Convert] = {
    "max_workers": whole(1, 1000),
    "threads": whole(1, MOST_THREADS),
    "batch_length": whole(1, 10_000),
    "batch_wait": seconds(0),
    "max_attempts": whole(1, 60_000),
    "backoff": seconds(0),
    "backoff_max": seconds(0),
    "timeout": optional(seconds(0.001)),
    "unique": one_of(None, "queued", "finished"),
    "length": optional(whole(1)),
    "priority": whole(-100, 100),
    "rerun": one_of(True, False),
    "store": _name,
    "outbox": _yes_no_or_name,
    "immediate": one_of(True, False),
}


def coerce(option: str, value: Any) -> Any:
    """The value of that option, converted. Raises ``ValueError`` that says what it must be."""
    return _CONVERT[option](value)


def coerce_delay(delay: float | timedelta) -> float:
    """A delay as seconds; negative ones are none.

    Raises ``TypeError`` for what is neither a number nor a ``timedelta``, ``ValueError`` for NaN and for more than
    :data:`MAX_DELAY`.
    """
    number = delay.total_seconds() if isinstance(delay, timedelta) else delay
    if not isinstance(number, int | float) or isinstance(number, bool):
        raise TypeError(f"a delay is a number of seconds or a timedelta, not {delay!r}")
    if not number <= MAX_DELAY:
        raise ValueError(f"a delay is at most {MAX_DELAY:.0f} seconds (a hundred years), not {delay!r}")
    return float(number) if number > 0 else 0.0


def nearest(word: str, known: Iterable[str]) -> str:
    """``" (did you mean 'X'?)"`` with the one of ``known`` that looks most like ``word``, or nothing. Any case."""
    originals = {k.upper(): k for k in known}
    found = get_close_matches(word.upper(), originals, n=1, cutoff=0.5)
    return f" (did you mean {originals[found[0]]!r}?)" if found else ""
