"""The keys of the map, pure. Numbers are big-endian, so the order of keys is the order of work.

One table per first byte. A queue goes by its number; ``sequence`` numbers the pushes of a store and is the last part of
an item's key in each of the four tables of items, so an item keeps the place of its push wherever it goes.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

META: Final = b"M"
NAME: Final = b"N"
COUNTERS: Final = b"C"
READY: Final = b"R"
DELAYED: Final = b"S"
DEAD: Final = b"D"
CANCELLED: Final = b"X"
INDEX: Final = b"I"
UNIQUE: Final = b"U"
LEASE: Final = b"L"
WISH: Final = b"W"
PAUSED: Final = b"P"
RESULT: Final = b"T"
#: Results by the time of their expiry, so that sweeping them looks at no other.
EXPIRY: Final = b"E"
SEGMENT: Final = b"B"
#: What is kept of a schedule, and how its last run ended.
SCHEDULE: Final = b"H"
RAN: Final = b"J"
#: When an item of the outbox was last handed over, by its id; and the same by that time, for forgetting it.
HANDED: Final = b"G"
HANDED_AT: Final = b"O"

VERSION: Final = META + b"version"
EPOCH: Final = META + b"epoch"
#: The first sequence number that was never reserved.
SEQUENCE: Final = META + b"sequence"

#: The tables that hold items.
ITEMS: Final = (READY, DELAYED, DEAD, CANCELLED)

_NUMBERED = Struct(">cH")
_ORDERED = Struct(">cHHQ")
_TIMED = Struct(">cHQQ")
_EXECUTION = Struct(">cQ")
_U64 = Struct(">Q")

#: Bytes of a key in the table of ready items.
READY_SIZE: Final = _ORDERED.size
#: Subtracted from, so that a higher priority sorts first.
PRIORITY_BASE: Final = 0x7FFF
#: An execution is the store's epoch (how often it was opened) and a counter of that many bits.
EPOCH_SHIFT: Final = 40

#: ``pack_ready(READY, queue, PRIORITY_BASE - priority, sequence)``, for loops in which a call more is felt.
pack_ready = _ORDERED.pack


def u64(number: int) -> bytes:
    """A number as the value of a key."""
    return _U64.pack(number)


def read_u64(value: bytes | None) -> int:
    """Undo :func:`u64`; 0 for a value that is missing or no number."""
    return int.from_bytes(value) if value is not None and len(value) == _U64.size else 0


def numbered(table: bytes, queue: int) -> bytes:
    """The key of a queue in a table with one entry for each; also the beginning of its keys in the other tables."""
    return _NUMBERED.pack(table, queue)


def ready(queue: int, priority: int, sequence: int) -> bytes:
    """Where an item waits and runs."""
    return _ORDERED.pack(READY, queue, PRIORITY_BASE - priority, sequence)


def timed(table: bytes, queue: int, time: int, sequence: int) -> bytes:
    """Where an item is delayed until, or dead or cancelled since, ``time`` (µs)."""
    return _TIMED.pack(table, queue, time, sequence)


def named(table: bytes, queue: int, name: str) -> bytes:
    """The key of something of a queue that has a name."""
    return _NUMBERED.pack(table, queue) + name.encode()


def name_in(key: bytes) -> bytes:
    """The name in a key of :func:`named`."""
    return key[_NUMBERED.size :]


def queue_of(key: bytes) -> int:
    """The queue's number in any key that has one."""
    return int.from_bytes(key[1:3])


def sequence_of(key: bytes) -> int:
    """The sequence number in the key of an item."""
    return int.from_bytes(key[-8:])


def time_of(key: bytes) -> int:
    """The time (µs) in a key made by :func:`timed`."""
    return int.from_bytes(key[3:11])


def unique(queue: int, key: bytes) -> bytes:
    """Where it is written who has the unique key ``key`` (UTF-8) of a queue."""
    return _NUMBERED.pack(UNIQUE, queue) + key


def lease(execution: int) -> bytes:
    """Where the lease is whose first execution this is."""
    return _EXECUTION.pack(LEASE, execution)


def wish(execution: int) -> bytes:
    """Where the wish is that this execution be cancelled."""
    return _EXECUTION.pack(WISH, execution)


def execution_of(key: bytes) -> int:
    """The execution in a key of :func:`lease` or :func:`wish`."""
    return int.from_bytes(key[1:9])


def expiry(time: int, item_id: bytes) -> bytes:
    """Where it is written that the result of an item expires at ``time`` (µs)."""
    return EXPIRY + _U64.pack(time) + item_id


def handed_at(time: int, item_id: bytes = b"") -> bytes:
    """Where it is written that an item was handed over at ``time`` (µs)."""
    return HANDED_AT + _U64.pack(time) + item_id


def beyond(prefix: bytes) -> bytes:
    """The first key after all that begin with ``prefix``."""
    return (int.from_bytes(prefix) + 1).to_bytes(len(prefix))
