"""The segment files of an inbox: their names, how one is made, which one takes pushes.

A segment never exists without its header: it is made under a temporary name and linked into place, and whoever is first
wins. The header has a random id, under which the owner stores how far the segment has been taken in, and the id of
the boot in which it was made. Pushes only go to a segment of this boot: after power loss a file may end *before* the
place up to which the owner has stored that it took it in, and a push appended there would be lost.

A segment that has no bytes or no name any more is sealed: nothing may be written to it.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from functools import cache
from pathlib import Path
from secrets import token_bytes, token_hex
from typing import Final, NamedTuple

from django_graceful.stores.leveldb.files import make_directory, settle, sync_directory
from django_graceful.stores.leveldb.frames import encode_note, read_note

FORMAT: Final = 1
DIRECTORY: Final = "inbox"
_HEADER_BYTES: Final = len(encode_note(bytes(33)))
_TEMPORARY: Final = ".new-"


class Header(NamedTuple):
    """What the first frame of a segment says: its random id, and the boot in which it was made."""

    id: bytes
    boot: bytes


@cache
def boot_id() -> bytes:
    """16 bytes that are others after each start of the machine; zeros where the kernel does not tell."""
    try:
        return bytes.fromhex(Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", ""))
    except (OSError, ValueError):
        return bytes(16)


def segment_path(directory: Path, number: int) -> Path:
    """The file of segment ``number`` in an inbox ``directory``."""
    return directory / f"{number:08d}.log"


def numbers(directory: Path) -> list[int]:
    """The segments that there are, oldest first. Raises ``FileNotFoundError`` when the directory is missing."""
    names = (name[:-4] for name in os.listdir(directory) if name.endswith(".log"))
    return sorted(int(name) for name in names if len(name) >= 8 and name.isascii() and name.isdigit())


def read_header(fd: int) -> Header | None:
    """The header of an open segment; None when it is damaged, of another format, or the segment is sealed."""
    content = read_note(os.pread(fd, _HEADER_BYTES, 0))
    if content is None or len(content) != 33 or content[0] != FORMAT:
        return None
    return Header(content[1:17], content[17:])


def open_segment(directory: Path, number: int) -> int:
    """A descriptor of a segment, for reading and appending. Raises ``FileNotFoundError`` when it is gone."""
    return os.open(segment_path(directory, number), os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)


def open_newest(store: Path, mode: int, *, fsync: bool = False, above: int = 0) -> tuple[int, int]:
    """Number and descriptor of the segment that takes pushes, one above ``above``; made when there is none.

    With ``fsync`` its name is on the disk when this returns. Raises ``OSError``.
    """
    while True:
        directory = make_directory(store, DIRECTORY, mode, fsync=fsync)
        number = max([above, *numbers(directory)])
        if number > above:
            with suppress(FileNotFoundError):
                fd = open_segment(directory, number)
                header = read_header(fd)
                if header is not None and header.boot == boot_id():
                    if fsync:
                        sync_directory(directory)
                    return number, fd
                os.close(fd)
        create(store, number + 1, mode, fsync=fsync)


def create(store: Path, number: int, mode: int, *, fsync: bool = False) -> None:
    """Make segment ``number`` with a fresh header, unless somebody else was first. Raises ``OSError``."""
    directory = store / DIRECTORY
    temporary = directory / f"{_TEMPORARY}{os.getpid()}-{token_hex(8)}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        settle(fd, mode, store)
        if os.write(fd, encode_note(bytes([FORMAT]) + token_bytes(16) + boot_id())) != _HEADER_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(temporary))
        if fsync:
            os.fsync(fd)
        # an owner may have cleaned it away meanwhile: whoever needs a segment looks again and makes another
        with suppress(FileExistsError, FileNotFoundError):
            os.link(temporary, segment_path(directory, number))
    finally:
        os.close(fd)
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def clean(directory: Path) -> None:
    """Remove what makers that were killed have left under temporary names. One that lives makes its segment again."""
    for name in os.listdir(directory):
        if name.startswith(_TEMPORARY):
            with suppress(FileNotFoundError):
                os.unlink(directory / name)
