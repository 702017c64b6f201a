"""What runs: leases in memory, and the form in which they are written down.

A lease is of a *chunk* of items with consecutive executions. Its stored form has one slot for each item: the item's key
while it runs. A slot is blanked in the same write in which its item comes back or is set aside, because that item may
get its old key again. Slots of finished items stay: their keys are gone for good. The last one removes the lease.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from struct import Struct
from typing import TYPE_CHECKING, Final

from django_graceful.stores.engine import keys
from django_graceful.stores.values import CancelOutcome, Wish

if TYPE_CHECKING:
    from django_graceful.stores.engine.lanes import Lane

#: Ended runs of which is remembered how they took it to be asked to stop.
OUTCOMES: Final = 5000
BLANK: Final = bytes(keys.READY_SIZE)
_LENGTH = Struct(">H")


@dataclass(slots=True, eq=False)
class Chunk:
    """Items leased together. ``keys``, ``ids`` and the executions from ``first`` on go in step."""

    first: int
    owner: str
    lane: Lane
    keys: list[bytes]
    ids: list[bytes]
    #: Position to (where the unique key is stored, flags), for the unique items among them.
    uniques: dict[int, tuple[bytes, int]] = field(default_factory=dict)
    #: How many still run.
    left: int = 0
    #: When (µs) it was handed out.
    at: int = 0

    def executions(self) -> range:
        """All of the chunk's executions, also those that have ended."""
        return range(self.first, self.first + len(self.keys))


class Ledger:
    """The executions that run."""

    def __init__(self) -> None:
        self.running: dict[int, Chunk] = {}
        #: Unique keys (as they are stored) of which an item runs.
        self.busy: set[bytes] = set()
        #: Runs that have been asked to stop, and how far the ladder has come with each.
        self.wished: dict[int, Wish] = {}
        #: How the last of them ended, by the item's id, oldest first.
        self.outcomes: dict[bytes, CancelOutcome] = {}

    def open(self, chunk: Chunk, positions: Iterable[int] | None = None) -> None:
        """The chunk runs from now on, or only those ``positions`` of it."""
        places = range(len(chunk.keys)) if positions is None else positions
        executions = {chunk.keys[at]: chunk.first + at for at in places}
        self.running.update(dict.fromkeys(executions.values(), chunk))
        self.busy.update(ukey for ukey, _ in chunk.uniques.values())
        chunk.lane.out.update(executions)
        chunk.lane.running += len(executions)
        chunk.left += len(executions)

    def close(self, executions: Iterable[int]) -> None:
        """These have ended, and what they ended as is written down."""
        for execution in executions:
            chunk = self.running.pop(execution)
            at = execution - chunk.first
            lane = chunk.lane
            del lane.out[chunk.keys[at]]
            lane.running -= 1
            chunk.left -= 1
            if at in chunk.uniques:
                ukey, _ = chunk.uniques[at]
                self.busy.discard(ukey)
                lane.unpark(ukey)
        if self.wished:
            for execution in executions:
                self.wished.pop(execution, None)

    def remember(self, item_id: bytes, outcome: CancelOutcome) -> None:
        """This item's run had been asked to stop, and has ended."""
        self.outcomes[item_id] = outcome
        if len(self.outcomes) > OUTCOMES:
            del self.outcomes[next(iter(self.outcomes))]

    def forget_outcome(self, execution: int) -> None:
        """How a former run of this one's item ended is of no interest any more."""
        chunk = self.running[execution]
        self.outcomes.pop(chunk.ids[execution - chunk.first], None)

    def slots(self, chunk: Chunk, ended: set[int]) -> list[bytes]:
        """The chunk's slots once ``ended`` have ended."""
        running = self.running
        return [
            key if execution in running and execution not in ended else BLANK
            for execution, key in zip(chunk.executions(), chunk.keys, strict=True)
        ]


def encode(owner: str, slots: Iterable[bytes]) -> bytes:
    """The stored form of a lease."""
    name = owner.encode()
    return _LENGTH.pack(len(name)) + name + b"".join(slots)


def decode(value: bytes) -> tuple[str, list[bytes]]:
    """Owner and slots. What is cut short or damaged gives the slots that can be read."""
    length = int.from_bytes(value[: _LENGTH.size])
    body = _LENGTH.size + length
    size = keys.READY_SIZE
    return value[_LENGTH.size : body].decode(errors="replace"), [
        value[at : at + size] for at in range(body, len(value) - size + 1, size)
    ]


def encode_wish(wish: Wish) -> bytes:
    """The stored form of a wish; its key has the execution."""
    return json.dumps({"by": wish.by, "reason": wish.reason, "asked_at": wish.asked_at}).encode()


def decode_wish(execution: int, value: bytes) -> Wish:
    """Undo :func:`encode_wish`. A damaged one is still a wish, by nobody known."""
    try:
        found = json.loads(value)
        return Wish(execution, str(found["by"]), str(found["reason"]), float(found.get("asked_at", 0)))
    except (ValueError, TypeError, KeyError):
        return Wish(execution, "", "")
