"""What the store keeps of a schedule, as text that the store does not read; and the id of a tick's item. Pure.

Two texts, because two moments write them. The *state* is compared and set together with the push of a tick's item, in
one write: so of any number of runners one pushes it, and whoever is killed whenever, a tick is decided and pushed or
neither. The *run* says how the last run of one of its items ended; the runner writes it right after that end is
written down.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any, Final

#: Where an item's meta says which schedule it is of.
META: Final = "schedule"


@dataclass(slots=True, frozen=True)
class State:
    """The last tick that was decided, the last item that was pushed and when (whole seconds since the epoch; 0: none
    yet), how many were pushed, and how often none was because it was missed or the one before had not ended.
    """

    last: int
    item: str = ""
    pushed_at: int = 0
    count: int = 0
    skipped: int = 0


@dataclass(slots=True, frozen=True)
class Ran:
    """The last end of a run: of which item, when (seconds since the epoch), how, and how long it took (seconds; None:
    nobody knows).
    """

    item: str
    ended_at: float
    outcome: str
    seconds: float | None


def encode(value: State | Ran) -> str:
    """The text that is kept."""
    return json.dumps(asdict(value))


def decode_state(text: str) -> State | None:
    """The state in a text; None for an empty text, and for one that can not be read."""
    try:
        found = json.loads(text)
        numbers = {name: int(found[name]) for name in ("last", "pushed_at", "count", "skipped")}
        return State(item=str(found["item"]), **numbers)
    except (ValueError, TypeError, LookupError, OverflowError):
        return None


def decode_ran(text: str) -> Ran | None:
    """The run in a text; None for an empty text, and for one that can not be read."""
    try:
        found: dict[str, Any] = json.loads(text)
        seconds = None if found["seconds"] is None else float(found["seconds"])
        return Ran(str(found["item"]), float(found["ended_at"]), str(found["outcome"]), seconds)
    except (ValueError, TypeError, LookupError):
        return None


def tick_id(queue: str, name: str, tick: int) -> bytes:
    """The id of the item of a tick, always the same for the same tick. A UUIDv7 of the tick's time."""
    number = int.from_bytes(blake2b(f"{queue}\0{name}\0{tick}".encode(), digest_size=10).digest())
    high = (tick * 1000 & (1 << 48) - 1) << 16 | 0x7000 | number >> 68
    return (high << 64 | 1 << 63 | number & (1 << 62) - 1).to_bytes(16)
