"""The numbers of one queue that are stored, written in the same batch as what they count. Pure.

An item that runs keeps its ready key, so ``READY`` counts waiting and running ones together: a lease need not write it.
"""

from __future__ import annotations

from struct import Struct, error
from typing import Final

READY, SCHEDULED, RETRYING, DEAD, CANCELLED, PUSHED, DUPLICATES, DONE, RETRIED, DIED, STOPPED, DISCARDED = range(12)
#: What counts items that are there now; the others only count events.
DEPTHS: Final = (READY, SCHEDULED, RETRYING, DEAD, CANCELLED)
NAMES: Final = {
    PUSHED: "pushed",
    READY: "ready",
    SCHEDULED: "scheduled",
    RETRYING: "retrying",
    DEAD: "dead",
    CANCELLED: "cancelled",
}

_FORM = Struct(">12Q")

#: The numbers, in the order above.
Tally = list[int]


def empty() -> Tally:
    """The numbers of a new queue."""
    return [0] * 12


def pack(tally: Tally, name: str) -> bytes:
    """The stored form. Numbers below zero, which only a damaged store can bring about, become zero.

    The queue's name goes with them: what is written often is what survives the loss of old files.
    """
    try:
        numbers = _FORM.pack(*tally)
    except error:
        numbers = _FORM.pack(*(max(0, number) for number in tally))
    return numbers + name.encode()


def unpack(value: bytes | None) -> Tally:
    """The numbers in a stored form; all zero when there is nothing or something else."""
    return list(_FORM.unpack_from(value)) if value is not None and len(value) >= _FORM.size else empty()


def name_in(value: bytes) -> str:
    """The queue's name in a stored form; empty when there is none."""
    return value[_FORM.size :].decode(errors="replace")
