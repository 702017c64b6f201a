"""Check and repair: one call for each queue compares everything with everything, and mends it when it is told to.

Items are the truth; places, keys and leases are mended to fit them. No item is ever removed. The server does nothing
else meanwhile, about a second for a million items.
"""

from __future__ import annotations

from typing import Final

from django_graceful.stores.redis.line import Line
from django_graceful.stores.values import Problem

#: Mending one thing can uncover the next.
_ROUNDS: Final = 5


def check(line: Line) -> list[Problem]:
    """What is wrong; changes nothing."""
    return _examine(line, b"")


def repair(line: Line) -> list[Problem]:
    """Mend what is wrong; what was mended."""
    mended: dict[Problem, None] = {}
    for _ in range(_ROUNDS):
        found = _examine(line, b"mend")
        if not found:
            break
        mended |= dict.fromkeys(found)
    return list(mended)


def _examine(line: Line, mode: bytes) -> list[Problem]:
    return [
        Problem(f"queue {queue}: {where.decode(errors='replace')}", what.decode(errors="replace"))
        for queue, answer in line.each_queue("check", mode).items()
        for where, what in zip(answer[::2], answer[1::2], strict=True)
    ]
