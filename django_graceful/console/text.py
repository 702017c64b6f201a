"""Values as words for people: times, ages, payloads. Nothing here lets a stored text control the terminal."""

from __future__ import annotations

import unicodedata
from datetime import datetime

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"))


def clean(text: str) -> str:
    """``text`` in one line, all that is not printable escaped: no colours, no cursor moves, no hidden directions."""
    return "".join(ch if ch.isprintable() else ch.encode("unicode_escape").decode() for ch in text)


def clean_lines(text: str) -> list[str]:
    """The lines of ``text``, each cleaned; tabs become spaces."""
    return [clean(line) for line in text.expandtabs(4).splitlines()]


def width(text: str) -> int:
    """How many columns of a terminal a clean ``text`` takes: wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(_width_of(ch) for ch in text)


def _width_of(ch: str) -> int:
    if unicodedata.combining(ch):
        return 0
    return 2 if unicodedata.east_asian_width(ch) in "WF" else 1


def shorten(text: str, columns: int) -> str:
    """A clean ``text`` in at most so many columns, with an ellipsis where it was cut."""
    if width(text) <= columns:
        return text
    kept, used = [], 1
    for ch in text:
        used += _width_of(ch)
        if used > columns:
            break
        kept.append(ch)
    return "".join(kept) + "…"


def duration(seconds: float, *, brief: bool = False) -> str:
    """Seconds with one or two units: ``0.4 s``, ``12 s``, ``3 m 20 s``, ``4 d 1 h``; ``brief``: with one."""
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    for index, (size, unit) in enumerate(_UNITS):
        if whole >= size:
            small, small_unit = _UNITS[index + 1] if index + 1 < len(_UNITS) else (1, "s")
            rest = 0 if brief else whole % size // small
            return f"{whole // size} {unit} {rest} {small_unit}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def moment(at: float) -> str:
    """Seconds since the epoch as local time; ``?`` for what is no time."""
    try:
        return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return "?"


def plural(number: int, one: str, many: str = "") -> str:
    """``1 item``, ``3 items``."""
    return f"{number} {one if number == 1 else many or one + 's'}"
