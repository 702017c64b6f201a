"""The file behind the board: its layout, how one is made, how its parts are read.

Little-endian: a head of 128 bytes; ``capacity`` depths (u64); ``capacity`` names (u16 length, 400 bytes UTF-8, filled
up to 408). All other numbers are 8 aligned bytes.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Final, NamedTuple

from django_graceful.stores.leveldb.files import settle

MAGIC: Final = b"GRBOARD1"
CAPACITY: Final = 1024
HEAD: Final = struct.Struct("<8s8Q")
WORD: Final = struct.Struct("<Q")
LENGTH: Final = struct.Struct("<H")
DEPTHS: Final = 128
SLOT: Final = 408
NAME_MAX: Final = 400


class Head(NamedTuple):
    """The words at the beginning of a board."""

    magic: bytes
    capacity: int
    used: int
    #: Another file has taken this one's place.
    replaced: int
    sleeping: int
    #: The segment that takes pushes, as far as the owner knows.
    newest: int
    #: The position: the owner writes these in this order, so all is well when the segments are equal.
    opened: int
    offset: int
    closed: int


POSITION: Final = slice(6, 9)
OFFSETS: Final = {word: 8 * at for at, word in enumerate(Head._fields)}
#: What is seen where there is no board: no owner ever ran.
NO_HEAD: Final = Head(MAGIC, 0, 0, 0, 0, 0, 0, 0, 0)


class Position(NamedTuple):
    """Up to where the inbox has been taken in: all older segments, and this one up to ``offset``."""

    segment: int
    offset: int


def place(head: Head) -> Position:
    """The position that a head shows. An owner that died while it went on to another segment left them unequal."""
    return Position(head.opened, head.offset if head.opened == head.closed else 0)


def name_at(head: Head, slot: int) -> int:
    """Where the name of a slot stands."""
    return DEPTHS + 8 * head.capacity + SLOT * slot


def read_head(fd: int) -> Head:
    """The head of an open board; ``NO_HEAD`` when it can not be read or is none."""
    try:
        return parse_head(os.pread(fd, HEAD.size, 0))
    except OSError:
        return NO_HEAD


def parse_head(data: bytes) -> Head:
    """The head that ``data`` starts with; ``NO_HEAD`` when it is none."""
    if len(data) < HEAD.size:
        return NO_HEAD
    head = Head._make(HEAD.unpack(data))
    good = head.magic == MAGIC and 0 < head.capacity <= 1 << 20 and head.used <= head.capacity
    return head if good else NO_HEAD


def read_slots(fd: int, head: Head) -> list[tuple[str, int]]:
    """Queue and slot of every name on an open board. Raises ``OSError``."""
    data = os.pread(fd, SLOT * head.used, name_at(head, 0)) if head.used else b""
    found = []
    for slot in range(len(data) // SLOT):
        at = SLOT * slot
        (length,) = LENGTH.unpack_from(data, at)
        found.append((data[at + 2 : at + 2 + min(length, NAME_MAX)].decode(errors="replace"), slot))
    return found


def make_board(path: Path, mode: int, head: Head, depths: bytes = b"", names: bytes = b"") -> int:
    """A finished board of ``head.capacity`` slots renamed into place; its descriptor. Raises ``OSError``."""
    # only the owner makes boards, so one name is enough and a killed owner's leftover is written over
    temporary = path.with_name(f".{path.name}.new")
    fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        settle(fd, mode, path.parent)
        os.posix_fallocate(fd, 0, name_at(head, head.capacity))
        for data, at in ((depths, DEPTHS), (names, name_at(head, 0)), (HEAD.pack(*head), 0)):
            if os.pwrite(fd, data, at) != len(data):
                raise OSError(f"{path}: no room")
        os.rename(temporary, path)
    except BaseException:
        os.close(fd)
        raise
    return fd
