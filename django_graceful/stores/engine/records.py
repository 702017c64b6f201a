"""What the engine reads and changes in a record. Pure; the payload is never looked at.

A record that this release can not read is kept in an *envelope*: its bytes untouched, with an id and the reason. Its
first byte is 0, which is no record's format version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from struct import Struct
from typing import Any, Final

from django_graceful.exceptions import RecordError
from django_graceful.items import (
    FORMAT,
    HEADER,
    KNOWN_FLAGS,
    UNIQUE,
    Header,
    Item,
    decode_header,
    decode_item,
    decode_meta,
    encode_header,
    encode_meta,
    new_id,
)
from django_graceful.stores.engine import keys
from django_graceful.stores.engine.counters import RETRYING, SCHEDULED

MAX_ERRORS: Final = 10
NO_STAMPS: Final[Mapping[str, float]] = {}
#: Characters kept of each text of an error, from its end: that is where a traceback says what happened.
MAX_TEXT: Final = 16 << 10
#: Where a record's id is.
ID: Final = slice(HEADER.size - 16, HEADER.size)
_MOST = 0xFFFF

_SEALED = Struct(">B16sqI")
_lengths = Struct("<BB6xHI").unpack_from


def fault(record: bytes) -> str:
    """Why this record can not be read; empty when it can."""
    if len(record) >= HEADER.size:
        version, flags, key_length, meta_length = _lengths(record)
        if version == FORMAT and flags <= KNOWN_FLAGS and not key_length and not meta_length:
            return ""  # by far the most: there is nothing in it that could be damaged
    try:
        # The errors of a run are added to the meta, so it must also be possible to write it.
        encode_meta(decode_meta(decode_header(record).meta))
    except (ValueError, RecursionError) as error:
        return str(error)
    return ""


def unique_key(queue: int, record: bytes) -> bytes:
    """Where the unique key of a record is stored; empty when its item is not unique."""
    if len(record) < HEADER.size or not record[1] & UNIQUE:
        return b""
    length = int.from_bytes(record[8:10], "little")
    return keys.unique(queue, record[HEADER.size : HEADER.size + length])


def delayed_as(record: bytes) -> int:
    """Which number counts this record while it is delayed: it is retrying when it has failed before, else scheduled."""
    return RETRYING if record[4:6].strip(b"\0") else SCHEDULED


def with_error(header: Header, error: dict[str, Any] | None, now: int) -> None:
    """Append ``error`` to those of a record whose header this is. The oldest go when there are too many."""
    if error is None:
        return
    meta = decode_meta(header.meta)
    before = meta.get("errors")
    entry: dict[str, Any] = {"attempt": header.attempt + 1, "at": now / 1e6}
    told = {name: value if isinstance(value, float) else str(value)[-MAX_TEXT:] for name, value in error.items()}
    entry = told | entry
    meta["errors"] = [*(before if isinstance(before, list) else []), entry][-MAX_ERRORS:]
    header.meta = encode_meta(meta)


def with_end(header: Header, by: str, reason: str, stamps: Mapping[str, float] = NO_STAMPS) -> None:
    """Note who set an item aside and why, and when its run was told to stop (times by name, seconds)."""
    meta = decode_meta(header.meta)
    meta["ended"] = {"by": by[-MAX_TEXT:], "reason": reason[-MAX_TEXT:], **stamps}
    header.meta = encode_meta(meta)


def ended(record: bytes, by: str, reason: str, stamps: Mapping[str, float] = NO_STAMPS) -> bytes:
    """The record of an item that is set aside, as :func:`with_end`."""
    header = decode_header(record)
    with_end(header, by, reason, stamps)
    return encode_header(header, record)


def revived(record: bytes, now: int) -> bytes:
    """The record of an item that was set aside and waits again.

    No attempt, no crash; the errors stay. A time that it waited for is kept if it never ran and it is still to come.
    """
    header = decode_header(record)
    if header.attempt or header.not_before <= now:
        header.not_before = 0
    header.attempt = header.crashes = 0
    meta = decode_meta(header.meta)
    meta.pop("ended", None)
    header.meta = encode_meta(meta)
    return encode_header(header, record)


def count(number: int) -> int:
    """One more, as far as the field goes."""
    return min(number + 1, _MOST)


@dataclass(slots=True, frozen=True)
class Envelope:
    """An unreadable record that was set aside."""

    id: bytes
    at: int
    reason: str
    raw: bytes

    def seal(self) -> bytes:
        """The stored form."""
        reason = self.reason.encode(errors="replace")
        return _SEALED.pack(0, self.id, self.at, len(reason)) + reason + self.raw


def envelope(raw: bytes, reason: str, now: int) -> Envelope:
    """Put ``raw`` into an envelope, under its own id if that much of it can be read, else under a new one."""
    try:
        item_id = decode_header(raw).id
    except RecordError:
        item_id = new_id()
    return Envelope(item_id, now, reason, raw)


def unseal(value: bytes) -> Envelope | None:
    """The envelope whose stored form this is; None when it is none."""
    if len(value) < _SEALED.size or value[0] != 0:
        return None
    _, item_id, at, length = _SEALED.unpack_from(value)
    body = _SEALED.size + length
    if len(value) < body:
        return None
    return Envelope(item_id, at, value[_SEALED.size : body].decode(errors="replace"), value[body:])


def id_of(value: bytes) -> bytes:
    """The id of an item from what is stored of it; empty when that is unreadable."""
    sealed = unseal(value)
    if sealed is not None:
        return sealed.id
    return b"" if fault(value) else value[ID]


def describe(queue: str, value: bytes) -> tuple[Item, dict[str, Any]]:
    """An item from what is stored of it, and who set it aside and why. Never raises: an unreadable one says so."""
    sealed = unseal(value)
    if sealed is None:
        try:
            item = decode_item(queue, value)
        except RecordError as error:
            return Item(id="", queue=queue), {"reason": str(error)}
        found = item.meta.get("ended")
        return item, _end_of(found) if isinstance(found, dict) else {}
    return Item(id=sealed.id.hex(), queue=queue, pushed_at=sealed.at / 1e6), {"reason": sealed.reason}


def _end_of(found: dict[str, Any]) -> dict[str, Any]:
    """What :func:`with_end` noted: texts, and times as they are."""
    return {name: at if isinstance(at, int | float) else str(at) for name, at in found.items() if at}
