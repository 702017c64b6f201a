"""Items, and the one binary form in which every store keeps them.

A record is a fixed header, the key, a small JSON object (``meta``: errors so far, per-item options) and the payload's
JSON, untouched since the producer encoded it: nobody but the worker decodes a payload, which is what keeps the
runner master fast and safe from bad data. The first byte is the format version; a reader that does not know it
raises :class:`~django_graceful.exceptions.RecordError`, and the item is set aside instead of being guessed at.
"""

from __future__ import annotations

import itertools
import json
import os
import struct
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from django_graceful.exceptions import RecordError
from django_graceful.payloads import MAX_KEY, encode_payload, payload_key, to_json

__all__ = [
    "FORMAT",
    "HEADER",
    "MAX_KEY",
    "MAX_PRIORITY",
    "MIN_PRIORITY",
    "RUN_ONCE",
    "TIMED",
    "UNIQUE",
    "UNTIL_FINISHED",
    "Header",
    "Item",
    "Outcome",
    "State",
    "decode_header",
    "decode_item",
    "decode_meta",
    "encode_header",
    "encode_meta",
    "encode_payload",
    "encode_record",
    "id_of",
    "limit_of",
    "micros",
    "new_id",
    "payload_key",
]

FORMAT: Final = 1
#: version, flags, priority, attempt, crashes, key length, meta length, pushed at, not before (both µs, UTC), id
HEADER: Final = struct.Struct("<BBhHHHIqq16s")
_unpack = HEADER.unpack_from
_ID_AT: Final = HEADER.size - 16
MIN_PRIORITY: Final = -100
MAX_PRIORITY: Final = 100

#: The item is of a unique queue: while it waits, its key is taken, and another push with this key changes nothing.
UNIQUE: Final = 1
#: With :data:`UNIQUE`: the key stays taken while the item runs, until it is finished (``unique="finished"``).
UNTIL_FINISHED: Final = 2
#: The item must not run twice (``rerun=False``): interrupted or crashed, it is dead instead of going back.
RUN_ONCE: Final = 4
#: The item's meta has a ``timeout`` (seconds) of its own, instead of its queue's.
TIMED: Final = 8
#: The item comes from the outbox: its store takes it in once, however often it is handed over.
OUTBOX: Final = 16
KNOWN_FLAGS: Final = UNIQUE | UNTIL_FINISHED | RUN_ONCE | TIMED | OUTBOX


class State(StrEnum):
    """Where an item is.

    ``waiting`` is ready to run, ``scheduled`` has a time to wait for, ``retrying`` failed before and waits again.
    """

    WAITING = "waiting"
    SCHEDULED = "scheduled"
    RETRYING = "retrying"
    RUNNING = "running"
    DEAD = "dead"
    CANCELLED = "cancelled"


class Outcome(StrEnum):
    """How one execution ended. ``interrupted`` puts the item back to the front with its attempt restored."""

    DONE = "done"
    RETRY = "retry"
    DEAD = "dead"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    #: The worker died under it: back to the front, one crash more; dead when ``MAX_CRASHES`` is reached.
    CRASHED = "crashed"


_ID = struct.Struct(">QQ")


def _random_count() -> Iterator[int]:
    return itertools.count(int.from_bytes(os.urandom(8), "big") >> 3)


def _reseed() -> None:
    global _tails
    _tails = _random_count()


_tails = _random_count()
os.register_at_fork(after_in_child=_reseed)


def new_id() -> bytes:
    """A fresh item id, 16 bytes: a UUIDv7, in order of time, unique over threads, forks and hosts.

    Milliseconds and a fraction of 12 bits, then a counter that each process starts at a random number of 61 bits. It
    takes no lock, so it may also be called in a signal handler that interrupted it.
    """
    millis, rest = divmod(time.time_ns(), 1_000_000)
    return _ID.pack(millis << 16 | 0x7000 | (rest << 12) // 1_000_000, 1 << 63 | next(_tails))


def micros(seconds: float) -> int:
    """Seconds as whole microseconds, the unit of the times in a record."""
    return int(seconds * 1_000_000)


@dataclass(slots=True)
class Item:
    """One piece of work, decoded for people and handlers; a copy: changing it changes nothing in the store.
    Times are seconds since the epoch. (Not frozen: that would make decoding three times slower.)
    """

    id: str
    queue: str
    key: str = ""
    priority: int = 0
    #: Runs that ended in a failure so far; the first run sees 0.
    attempt: int = 0
    #: How often the worker died under this item.
    crashes: int = 0
    pushed_at: float = 0.0
    not_before: float = 0.0
    flags: int = 0
    meta: dict[str, Any] = field(default_factory=dict)
    payload_json: bytes = b"null"

    @property
    def payload(self) -> Any:
        """The payload as pushed. Raises :class:`RecordError` when its JSON is damaged."""
        try:
            return json.loads(self.payload_json.decode())
        except (ValueError, RecursionError) as error:
            raise RecordError(f"item {self.id}: the payload is not JSON: {error}") from error

    @property
    def errors(self) -> list[dict[str, Any]]:
        """What went wrong in earlier attempts, oldest first: ``attempt, at, type, message, traceback``."""
        found = self.meta.get("errors", [])
        return found if isinstance(found, list) else []


def encode_record(
    item_id: bytes,
    payload_json: bytes,
    *,
    key: str = "",
    priority: int = 0,
    attempt: int = 0,
    crashes: int = 0,
    flags: int = 0,
    pushed_at: int,
    not_before: int = 0,
    meta: bytes = b"",
) -> bytes:
    """One record. Times are in µs; ``meta`` is JSON or empty. Raises ``struct.error`` for a number out of range."""
    raw_key = key.encode()
    header = HEADER.pack(
        FORMAT, flags, priority, attempt, crashes, len(raw_key), len(meta), pushed_at, not_before, item_id
    )
    return header + raw_key + meta + payload_json


@dataclass(slots=True)
class Header:
    """The fixed part of a record: what stores and the master need without touching the payload."""

    flags: int
    priority: int
    attempt: int
    crashes: int
    key: str
    meta: bytes
    pushed_at: int
    not_before: int
    id: bytes
    payload_at: int


def decode_header(record: bytes) -> Header:
    """The header of ``record``. Raises :class:`RecordError` for an unknown version or a record that is cut short."""
    try:
        version, flags, priority, attempt, crashes, key_len, meta_len, pushed_at, not_before, item_id = _unpack(record)
    except struct.error:
        raise RecordError(f"a record of {len(record)} bytes is shorter than its header") from None
    if version != FORMAT or flags > KNOWN_FLAGS:
        raise RecordError(
            f"record format {version} (flags {flags}) is not known to this release, which writes {FORMAT}"
        )
    meta_at = HEADER.size + key_len
    payload_at = meta_at + meta_len
    if len(record) < payload_at:
        raise RecordError(f"a record of {len(record)} bytes is cut short: its key and meta end at byte {payload_at}")
    try:
        key = record[HEADER.size : meta_at].decode() if key_len else ""
    except UnicodeDecodeError as error:
        raise RecordError(f"a record's key is not UTF-8: {error}") from error
    meta = record[meta_at:payload_at]
    return Header(flags, priority, attempt, crashes, key, meta, pushed_at, not_before, item_id, payload_at)


def id_of(record: bytes) -> bytes:
    """The id in a record that :func:`encode_record` made."""
    return record[_ID_AT : HEADER.size]


def encode_header(header: Header, record: bytes) -> bytes:
    """``record`` with its header, key and meta replaced by ``header``; the payload stays as it is."""
    return encode_record(
        header.id,
        record[header.payload_at :],
        key=header.key,
        priority=header.priority,
        attempt=header.attempt,
        crashes=header.crashes,
        flags=header.flags,
        pushed_at=header.pushed_at,
        not_before=header.not_before,
        meta=header.meta,
    )


def decode_meta(meta: bytes) -> dict[str, Any]:
    """The meta object. Raises :class:`RecordError` when it is not a JSON object."""
    if not meta:
        return {}
    try:
        found = json.loads(meta.decode())
    except (ValueError, RecursionError) as error:
        raise RecordError(f"a record's meta is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise RecordError("a record's meta is not a JSON object")
    return found


def encode_meta(meta: dict[str, Any]) -> bytes:
    """``meta`` as JSON, or nothing when it is empty. A lone surrogate (a file name in a traceback) becomes ``?``."""
    return to_json(meta).encode(errors="replace") if meta else b""


def limit_of(records: Iterable[bytes], timeout: float | None) -> float | None:
    """The seconds that one run of these items may take together: what the most patient of them has; None: no limit.

    ``timeout`` is for items without a time of their own. Costs next to nothing for those: a flag is looked at.
    """
    longest = 0.0
    for record in records:
        limit = timeout if not record[1] & TIMED else _own_timeout(record) or timeout
        if limit is None:
            return None
        longest = max(longest, limit)
    return longest


def _own_timeout(record: bytes) -> float | None:
    try:
        found = decode_meta(decode_header(record).meta).get("timeout")
    except RecordError:  # whoever runs it says so
        return None
    return float(found) if isinstance(found, int | float) and 0 < found <= 1e9 else None  # a push takes a year at most


def decode_item(queue: str, record: bytes) -> Item:
    """``record`` as an :class:`Item`; raises :class:`RecordError`. The payload is decoded when it is asked for."""
    head = decode_header(record)
    return Item(
        head.id.hex(),
        queue,
        head.key,
        head.priority,
        head.attempt,
        head.crashes,
        head.pushed_at / 1e6,
        head.not_before / 1e6,
        head.flags,
        decode_meta(head.meta) if head.meta else {},
        record[head.payload_at :],
    )
