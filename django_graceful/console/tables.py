"""Tables of text that fit the terminal: the columns that may give way are cut, the others stay whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django_graceful.console.text import clean, shorten, width

_GAP = "  "
_NARROWEST = 5


@dataclass(slots=True, frozen=True)
class Column:
    """A heading; ``right`` for numbers; ``gives`` for text that may be cut to fit."""

    title: str
    right: bool = False
    gives: bool = False


def render(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    screen: int | None = None,
    heading: Callable[[str], str] = str,
) -> str:
    """The table, without trailing blanks. ``screen`` is the width to fit into (None: any), ``heading`` a colour."""
    cells = [[clean(cell) for cell in row] for row in rows]
    table = [[column.title for column in columns], *cells]
    widths = [max(map(width, own)) for own in zip(*table, strict=True)]
    if screen is not None:
        widths = fit(widths, [column.gives for column in columns], screen)
    top, *lines = (_line(row, columns, widths) for row in table)
    return "\n".join([heading(top), *lines])


def fit(widths: Sequence[int], gives: Sequence[bool], screen: int) -> list[int]:
    """The widths, with those that give cut (the widest first) until all fit, or none can give any more."""
    found = list(widths)
    excess = sum(found) + len(_GAP) * (len(found) - 1) - screen
    while excess > 0:
        index = max((i for i, can in enumerate(gives) if can), key=found.__getitem__, default=None)
        if index is None or found[index] <= _NARROWEST:
            break
        found[index] -= 1
        excess -= 1
    return found


def _line(row: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> str:
    return _GAP.join(map(_pad, row, columns, widths)).rstrip()


def _pad(cell: str, column: Column, columns: int) -> str:
    cut = shorten(cell, columns)
    blanks = " " * (columns - width(cut))
    return blanks + cut if column.right else cut + blanks
