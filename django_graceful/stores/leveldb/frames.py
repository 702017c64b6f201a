"""The frames in which records stand in an inbox segment: pure functions from bytes to records and back.

A frame is magic (4 bytes), length of the body (u32), crc32 of the body (u32), body; all little-endian. A body is the
length of the queue's name (u16), the name, and one record; or, when the top bit of that length is set, many records:
how many (u32), the length of each (u32), the records. The records of one ``push_many`` are one frame, so a push
that was cut short by a full disk or a SIGKILL is never taken in by half. A frame with an empty name is a *note*: it
holds no record (the header of a segment, or the owner's mark behind a torn tail).

What :func:`scan` gives is undamaged: the checksum decides, never the magic. All four bytes of the magic are such as
UTF-8 text never has, so no payload can pretend to be a frame.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from sys import maxsize
from typing import Final
from zlib import crc32

from django_graceful.exceptions import PayloadTooLarge

MAGIC: Final = b"\xf9\xfe\xc1\xfd"
HEAD: Final = struct.Struct("<4sII")
#: The longest body that is written or believed: a payload of 64 MiB and what surrounds it.
MAX_BODY: Final = (64 << 20) + (64 << 10)
MAX_FRAME: Final = HEAD.size + MAX_BODY

_MANY: Final = 0x8000
_SHORT: Final = struct.Struct("<H")
_LONG: Final = struct.Struct("<I")
_head = HEAD.pack
_unhead = HEAD.unpack_from
#: by name: the beginning of a body and its checksum, for one record and for many
_prefixes: dict[str, tuple[bytes, int, bytes]] = {}
#: by the beginning of a body: the name
_names: dict[bytes, str] = {}


def encode(queue: str, record: bytes) -> bytes:
    """One record as a frame. Raises :class:`~django_graceful.exceptions.PayloadTooLarge` above ``MAX_BODY`` bytes."""
    prefix, checksum, _ = _prefixes.get(queue) or _prefix(queue)
    length = len(prefix) + len(record)
    if length > MAX_BODY:
        raise _too_large(queue, length)
    return b"".join((_head(MAGIC, length, crc32(record, checksum)), prefix, record))


def encode_many(queue: str, records: Sequence[bytes]) -> bytes:
    """Records as one frame, taken in all or none. Raises :class:`~django_graceful.exceptions.PayloadTooLarge`
    when they have more than ``MAX_BODY`` bytes together."""
    prefix = (_prefixes.get(queue) or _prefix(queue))[2]
    lengths = struct.pack(f"<{len(records) + 1}I", len(records), *map(len, records))
    body = b"".join((prefix, lengths, *records))
    if len(body) > MAX_BODY:
        raise _too_large(queue, len(body))
    return _head(MAGIC, len(body), crc32(body)) + body


def encode_note(content: bytes = b"") -> bytes:
    """A frame that holds no record."""
    return encode("", content)


def read_note(data: bytes) -> bytes | None:
    """The content of the note that ``data`` starts with; None when it starts with something else."""
    end = check(data, 0)
    start = HEAD.size + _SHORT.size
    return data[start:end] if end and data[HEAD.size : start] == b"\0\0" else None


@dataclass(slots=True)
class Scan:
    """What stands in a stretch of bytes. Offsets count from its first byte."""

    #: Queue and record of each undamaged frame, in order.
    entries: list[tuple[str, bytes]] = field(default_factory=list)
    #: Behind the last undamaged frame; what follows is unfinished, or damaged with nothing good behind it so far.
    end: int = 0
    #: First byte and end of what was passed over because an undamaged frame follows it.
    damage: list[tuple[int, int]] = field(default_factory=list)


def scan(data: bytes, limit: int = maxsize) -> Scan:
    """The undamaged frames of ``data``, until at least ``limit`` records were found or no undamaged frame follows.

    Never waits for the end of a damaged frame: where one does not check, the next that does is looked for *inside* it.
    """
    found = Scan()
    entries = found.entries
    at, size = 0, len(data) - HEAD.size
    while at <= size and len(entries) < limit:
        magic, length, checksum = _unhead(data, at)
        body = data[at + 12 : at + 12 + length] if magic == MAGIC and length <= MAX_BODY else b""
        if len(body) != length or len(body) < 2 or crc32(body) != checksum:
            good = next_good(data, at + 1)
            if good < 0:
                break
            found.damage.append((at, good))
            at = good
            continue
        end = at + 12 + length
        name_end = 2 + body[0] + (body[1] << 8)
        queue = _names.get(body[:name_end])
        if queue is not None:
            entries.append((queue, body[name_end:]))
        elif not _open_body(body, entries):
            found.damage.append((at, end))
        at = end
    found.end = at
    return found


def _open_body(body: bytes, entries: list[tuple[str, bytes]]) -> bool:
    """The rarer bodies: notes, many records, a name met for the first time. False: not ours, its sum is right."""
    if body[:2] == b"\0\0":
        return True
    name_length = _SHORT.unpack_from(body)[0]
    queue = _decode_name(body[2 : 2 + (name_length & ~_MANY)], name_length & ~_MANY)
    if queue is None:
        return False
    if not name_length & _MANY:
        entries.append((queue, body[2 + name_length :]))
        return True
    try:
        at = 2 + (name_length & ~_MANY)
        (count,) = _LONG.unpack_from(body, at)
        lengths = struct.unpack_from(f"<{count}I", body, at + 4)
    except struct.error:
        return False
    start = at + 4 + 4 * count
    if start + sum(lengths) != len(body):
        return False
    entries.extend((queue, body[a:b]) for a, b in pairwise(accumulate(lengths, initial=start)))
    return True


def check(data: bytes, at: int) -> int:
    """The end of the undamaged frame that starts at ``at``; 0 when none does."""
    if len(data) - at < HEAD.size:
        return 0
    magic, length, checksum = _unhead(data, at)
    end: int = at + HEAD.size + length
    good = magic == MAGIC and 2 <= length <= MAX_BODY and end <= len(data)
    return end if good and crc32(memoryview(data)[at + HEAD.size : end]) == checksum else 0


def next_good(data: bytes, at: int) -> int:
    """Where the first undamaged frame at or behind ``at`` starts; -1 when there is none."""
    while (at := data.find(MAGIC, at)) >= 0:
        if check(data, at):
            return at
        at += 1
    return -1


#: So many bytes of a frame are enough for :func:`peek`: names have 100 characters at most.
PEEK: Final = HEAD.size + _SHORT.size + 400 + _LONG.size


def peek(data: bytes) -> tuple[int, str, int] | None:
    """Length of the frame that ``data`` starts with, its queue and how many records it has, without checking the sum.

    ``data`` need not hold the whole frame, only :data:`PEEK` bytes of it. None when it does not look like a frame.
    """
    if len(data) < HEAD.size + _SHORT.size:
        return None
    magic, length, _ = _unhead(data)
    if magic != MAGIC or not 2 <= length <= MAX_BODY:
        return None
    (name_length,) = _SHORT.unpack_from(data, HEAD.size)
    name_end = HEAD.size + 2 + (name_length & ~_MANY)
    if not name_length:
        return HEAD.size + length, "", 0
    queue = _decode_name(data[HEAD.size + 2 : name_end], name_length & ~_MANY)
    if queue is None:
        return None
    count = _LONG.unpack_from(data, name_end)[0] if name_length & _MANY and len(data) >= name_end + 4 else 1
    return HEAD.size + length, queue, count


def _prefix(queue: str) -> tuple[bytes, int, bytes]:
    name = queue.encode()
    if len(name) >= _MANY:
        raise ValueError(f"a queue's name of {len(name)} bytes is too long")
    one = _SHORT.pack(len(name)) + name
    _prefixes[queue] = known = (one, crc32(one), _SHORT.pack(len(name) | _MANY) + name)
    return known


def _decode_name(raw: bytes, length: int) -> str | None:
    try:
        queue = raw.decode()
    except UnicodeDecodeError:
        return None
    if not queue or len(raw) != length:
        return None
    if len(_names) < 10_000:
        _names[_SHORT.pack(length) + raw] = queue
    return queue


def _too_large(queue: str, length: int) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"queue {queue}: one push of {length} bytes; the inbox takes {MAX_BODY} at once. Push fewer items at a time."
    )
