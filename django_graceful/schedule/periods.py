"""Periods as people write them: ``"10m"``, ``"1h30m"``, a number of seconds, a ``timedelta``. Pure."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, Final

from django_graceful.options import YEAR, is_number

_UNITS: Final = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_FORM: Final = re.compile("".join(rf"(?:(\d{{1,9}}){unit})?" for unit in _UNITS))


def parse_period(value: Any) -> int:
    """Whole seconds, from one to a year. Raises ``ValueError`` that says what it must be."""
    seconds = _seconds(value)
    if not is_number(seconds) or seconds != int(seconds) or not 1 <= seconds <= YEAR:
        raise ValueError(
            f"must be a whole number of seconds from 1 to {YEAR:.0f} (a year), a timedelta, or a text like '90s', "
            f"'10m', '1h30m', '1d' or '2w', not {value!r}"
        )
    return int(seconds)


def _seconds(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if not isinstance(value, str):
        return value
    found = _FORM.fullmatch(value.strip().lower())
    return (
        sum(int(number or 0) * size for number, size in zip(found.groups(), _UNITS.values(), strict=True))
        if found
        else 0
    )


def period_text(seconds: int) -> str:
    """Undo :func:`parse_period`: ``1h30m``."""
    parts = []
    for unit, size in _UNITS.items():
        number, seconds = divmod(seconds, size)
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts)
