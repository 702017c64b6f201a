"""Ending executions: what becomes of each item is decided here (``engine/fates.py``), and carried out by ``end.lua``.

The script has the last word on two things that only it can know: whether the execution still runs, and whether
somebody has asked it to stop meanwhile. If so, and if that changes the fate, it leaves the execution as it is and tells
the wish; then the fate is decided again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final

from django_graceful.items import HEADER, UNIQUE, Outcome, State, micros
from django_graceful.stores.engine import fates, records
from django_graceful.stores.engine.fates import Fate, Rules
from django_graceful.stores.redis import reading
from django_graceful.stores.redis.line import Line
from django_graceful.stores.redis.packing import cut, join, split
from django_graceful.stores.values import Ending, Wish

_ENTRY = Struct("<8s16ssBddIIII")
_LETTERS: Final[dict[State | None, bytes]] = {
    None: b"x",
    State.WAITING: b"w",
    State.RETRYING: b"r",
    State.DEAD: b"d",
    State.CANCELLED: b"c",
}
#: Outcomes that no wish changes.
_FINAL: Final = (Outcome.DONE, Outcome.DEAD)
Decide = Callable[[bytes, Wish | None], Fate]


@dataclass(slots=True, frozen=True)
class End:
    """One execution that ends. ``record`` is as it was leased, or its head."""

    execution: int
    id: bytes
    record: bytes
    decide: Decide
    #: No wish changes that.
    final: bool = False
    delay: float = 0.0
    result: bytes | None = None
    ttl: float = 0.0


@dataclass(slots=True, frozen=True)
class Ended:
    """What a call of ``end.lua`` says."""

    snapshot: bytes
    refused: set[int]


def plainly(execution: int, item_id: bytes) -> bytes:
    """A plain ending, done, of an item that is not unique."""
    return execution.to_bytes(8) + item_id


def done(execution: int, item_id: bytes, record: bytes) -> End:
    """A plain ending, of any item."""
    return End(execution, item_id, record, lambda record, wish: fates.GONE, final=True)


def released(execution: int, item_id: bytes, record: bytes) -> End:
    """The end of an execution that was never started."""
    return End(execution, item_id, record, fates.released)


def by(one: Ending, item_id: bytes, record: bytes, rules: Rules) -> End:
    """The end of an execution that ended that way."""
    return End(
        one.execution,
        item_id,
        record,
        lambda record, wish: fates.decide(record, one, wish, rules),
        one.outcome in _FINAL,
        one.delay,
        one.result,
        one.result_ttl,
    )


def end(
    line: Line, queue: str, plain: Sequence[bytes], ends: Iterable[End], wishes: dict[int, Wish], *, mode: bytes = b""
) -> Ended:
    """End executions of one queue in one step; ``wishes`` are those that are known, and more may be added.

    ``mode`` may be ``expired``: only those whose lease has run out. The step is followed by another one for those whose
    cancel turns out to be asked for.
    """
    left: dict[int, End] = {}
    refused: set[int] = set()
    for one in ends:
        if left.setdefault(one.execution, one) is not one:
            refused.add(one.execution)
    entries = [_entry(one, wishes.get(one.execution)) for one in left.values()]
    while True:
        snapshot, said, wished = line.run("end", queue, line.channel, mode, b"".join(plain), join(entries))
        refused.update(map(int.from_bytes, cut(said, 8)))
        if not wished:
            return Ended(snapshot, refused)
        entries, plain = [], ()
        for piece in split(wished):
            execution = int.from_bytes(piece[:8])
            wish = wishes[execution] = reading.decode_wish(execution, piece[8:]) or Wish(execution, "", "")
            entries.append(_entry(left[execution], wish))


def is_unique(record: bytes) -> bool:
    """Whether an item has a unique key, as ``unique_of`` in ``common.lua`` sees it."""
    return len(record) >= HEADER.size and record[0] != 0 and bool(record[1] & UNIQUE)


def _entry(one: End, wish: Wish | None) -> bytes:
    record = one.record
    reason = records.fault(record)
    if reason:
        fate, size = Fate(State.DEAD, records.Envelope(one.id, 0, reason, record).seal()), len(record)
        head = fate.record
    else:
        fate, size = one.decide(record, wish), _head_size(record)
        head = fate.record[: len(fate.record) - len(record) + size]
        if fate.record is record or fate.state is None:
            head, size = b"", 0
    key = record[HEADER.size : HEADER.size + int.from_bytes(record[8:10], "little")] if is_unique(record) else None
    fixed = _ENTRY.pack(
        one.execution.to_bytes(8),
        one.id,
        _LETTERS[fate.state],
        one.final or wish is not None or bool(reason),
        _span(one.delay),
        _span(one.ttl),
        size,
        len(head),
        0 if key is None else len(key) + 1,
        0 if one.result is None else len(one.result) + 1,
    )
    return b"".join((fixed, head, key or b"", one.result or b""))


def _span(seconds: float) -> int:
    """A time to wait, in µs, within what can be stored."""
    return micros(min(seconds, fates.LONGEST)) if seconds > 0 else 0


def _head_size(record: bytes) -> int:
    """How many bytes of a readable record are before its payload."""
    return HEADER.size + int.from_bytes(record[8:10], "little") + int.from_bytes(record[10:14], "little")
