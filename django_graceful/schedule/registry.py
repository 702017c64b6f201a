"""Where schedules are declared in code: ``@every`` and ``@cron`` above ``@queue``.

The decorators give back what they got, so types stay as they are. Other things than queues that can be pushed are made
known by :func:`hook`. Declaring the same schedule again (a reload) changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypedDict, TypeVar, Unpack

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from django_graceful.conf import get_conf
from django_graceful.queues import Queue
from django_graceful.schedule.spec import Schedule, SpecError, make

Thing = TypeVar("Thing")
#: From a decorated thing and a schedule's payload to the name of its queue and the payload of the item.
Target = Callable[[Any, Any], tuple[str, Any]]

_declared: dict[str, Schedule] = {}
_targets: dict[type, Target] = {Queue: lambda queue, payload: (queue.name, payload)}


class ScheduleOptions(TypedDict, total=False):
    """The keyword arguments of :func:`every` and :func:`cron`."""

    #: The schedule's name, one in the site; the queue's when it is left out.
    name: str
    payload: Any
    #: ``"skip"``, or ``"once"``: what becomes of ticks that came while no runner ran.
    missed: str
    #: True: a tick is pushed also while the item of the one before waits or runs.
    overlap: bool
    #: The items' key, in a unique queue.
    key: str


def every(period: str | float | timedelta, /, **options: Unpack[ScheduleOptions]) -> Callable[[Thing], Thing]:
    """Above ``@queue``: push an item every ``period`` (``"10m"``, ``"1h30m"``, seconds, or a ``timedelta``).

    Ticks are the multiples of the period since 1970 in UTC, so ``every("1h")`` comes at the full hour, on all nodes and
    after each restart. One item is pushed for a tick, whatever the number of runners, by one of them; with no runner
    (stopped, draining or quiet) the tick is *missed* as soon as it is a minute late. The runner pushes, so the site's
    receivers of ``signals.pushed`` and the queue's key function are not called. Raises ``ImproperlyConfigured``.
    """
    return lambda thing: _declare(thing, {"every": period}, options)


def cron(
    expression: str, /, *, timezone: str | None = None, **options: Unpack[ScheduleOptions]
) -> Callable[[Thing], Thing]:
    """Above ``@queue``: push an item when the clocks of ``timezone`` (the site's ``TIME_ZONE``) match ``expression``.

    Otherwise as :func:`every`. When clocks are changed, a job of a fixed time runs once: see
    :mod:`~django_graceful.schedule.rules`.
    """
    return lambda thing: _declare(thing, {"cron": expression, "timezone": timezone}, options)


def add(name: str, queue: str, **options: Any) -> Schedule:
    """Declare a schedule without a decorator: ``every=`` or ``cron=`` (with ``timezone=``), and the options of
    :func:`every`. Raises ``ImproperlyConfigured``.
    """
    try:
        found = make(name, queue, default_zone=settings.TIME_ZONE or "UTC", **options)
    except SpecError as error:
        raise ImproperlyConfigured(f"schedule {name!r}: {error.option} {error}") from None
    except TypeError as error:
        raise ImproperlyConfigured(f"schedule {name!r}: {error}") from None
    other = _declared.setdefault(name, found)
    if other != found:
        both = f"{other.rule} on queue {other.queue!r} and {found.rule} on queue {found.queue!r}"
        raise ImproperlyConfigured(f"two schedules are named {name!r}: {both}; give one of them another name=")
    return found


def hook(kind: type, target: Target) -> None:
    """Let ``@every`` and ``@cron`` stand above things of this type.

    ``target(thing, payload)`` gives the name of the queue and the payload of the items, from that of the schedule.
    """
    _targets[kind] = target


def all_schedules() -> dict[str, Schedule]:
    """Every schedule by name: those of the code, and those of ``GRACEFUL["SCHEDULES"]``, which replace them."""
    return _declared | get_conf().schedules


def declared() -> dict[str, Schedule]:
    """The schedules of the code, by name."""
    return dict(_declared)


def _declare(thing: Thing, rule: dict[str, Any], options: ScheduleOptions) -> Thing:
    target = next((target for kind, target in _targets.items() if isinstance(thing, kind)), None)
    if target is None:
        raise ImproperlyConfigured(f"@every and @cron stand above @queue; {thing!r} is no queue")
    given: dict[str, Any] = dict(options)
    queue, payload = target(thing, given.pop("payload", None))
    add(given.pop("name", queue), queue, payload=payload, **rule, **given)
    return thing
