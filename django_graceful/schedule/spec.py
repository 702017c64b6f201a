"""What a schedule is, checked once, wherever it was written. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar

from django_graceful.payloads import encode_payload, key_text
from django_graceful.schedule.rules import Rule, find_zone, make_cron, make_every

Made = TypeVar("Made")

#: The longest name, in characters.
MAX_NAME: Final = 100
#: Whatever MAX_PAYLOAD says later.
_MOST_PAYLOAD: Final = 64 << 20


class Missed(StrEnum):
    """What becomes of ticks that came while no runner ran."""

    #: They are not made up for.
    SKIP = "skip"
    #: However many they were, one run makes up for them.
    ONCE = "once"


@dataclass(slots=True, frozen=True)
class Schedule:
    """At each tick of ``rule`` one item with ``payload`` is pushed to ``queue``.

    ``overlap``: also while the item of the tick before waits or runs. ``key`` is the items' key in a unique queue.
    """

    name: str
    queue: str
    rule: Rule
    payload: Any = None
    missed: Missed = Missed.SKIP
    overlap: bool = False
    key: str | None = None


class SpecError(ValueError):
    """One thing that is wrong with a schedule; ``option`` is what it is about."""

    def __init__(self, option: str, what: str) -> None:
        super().__init__(what)
        self.option = option


def make(
    name: Any,
    queue: str,
    *,
    every: Any = None,
    cron: Any = None,
    timezone: Any = None,
    default_zone: str = "UTC",
    payload: Any = None,
    missed: Any = "skip",
    overlap: Any = False,
    key: Any = None,
) -> Schedule:
    """A schedule. ``every`` or ``cron`` is given. Raises :class:`SpecError`."""
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise SpecError("name", f"must be 1 to {MAX_NAME} printable characters, not {name!r}")
    if not isinstance(queue, str) or not queue:
        raise SpecError("queue", f"must be the name of a queue, not {queue!r}")
    _check_choice("missed", missed, tuple(map(str, Missed)))
    _check_choice("overlap", overlap, (True, False))
    try:
        encode_payload(payload, _MOST_PAYLOAD)
    except (TypeError, ValueError) as error:
        raise SpecError("payload", f"can not be kept: {error}") from None
    rule = _make_rule(every, cron, timezone, default_zone)
    return Schedule(name, queue, rule, payload, Missed(missed), overlap, _make_key(key))


def _make_rule(every: Any, cron: Any, timezone: Any, default_zone: str) -> Rule:
    if (every is None) == (cron is None):
        raise SpecError("every", "or cron must be given, one of the two")
    if cron is None and timezone is not None:
        raise SpecError("timezone", "goes with cron only: the ticks of every are counted in UTC")
    if cron is None:
        return _about("every", make_every, every)
    zone = _about("timezone", find_zone, default_zone if timezone is None else timezone)
    return _about("cron", make_cron, cron, zone)


def _about(option: str, convert: Callable[..., Made], *args: Any) -> Made:
    try:
        return convert(*args)
    except ValueError as error:
        raise SpecError(option, str(error)) from None


def _make_key(key: Any) -> str | None:
    try:
        return None if key is None else key_text(key)
    except (TypeError, ValueError) as error:
        raise SpecError("key", str(error)) from None


def _check_choice(option: str, value: Any, known: Collection[Any]) -> None:
    if not any(isinstance(value, type(one)) and value == one for one in known):
        raise SpecError(option, f"must be one of {', '.join(map(repr, known))}, not {value!r}")
