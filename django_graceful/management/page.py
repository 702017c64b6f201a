"""The page that a command and its supervisor share: anonymous memory, mapped before the fork, gone with both.

Each word is written in one machine store by one side and read by the other, so there is nothing to lock, and what the
command wrote last is still there when it has been killed. The texts are read only after a signal, or after the end,
that came behind their writing.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from enum import IntEnum

from django_graceful.runner.slate import Word

_SIZE = 4096
#: Where the texts begin; each ends where the next one begins.
_STEP, _BY, _NOTE = 512, 2048, 3072
_LENGTH = struct.Struct("H")
_NUMBER = struct.Struct("d")


class Field(IntEnum):
    """The words of the page."""

    # By the supervisor: whether the hammer has struck, and the number of the signal that began it all.
    STRUCK = 0
    SIGNAL = 1
    #: Not 0 while it drains: monotonic nanoseconds of the hammer. Where a worker's slate has it.
    HAMMER_AT = Word.HAMMER_AT
    # By the command: how it came to its end (`How`), and how far it is (the two numbers are doubles).
    HOW = 8
    SAID = 9
    DONE = 10
    TOTAL = 11
    #: Whether somebody has cancelled it.
    WISHED = 12
    #: The id of its process: the node's name as a number, and the number behind it; the latter is 0 while none runs.
    NODE = 13
    NUMBER = 14
    #: By the command: ``Cancelled`` has been raised in it.
    RAISED = 15


class How(IntEnum):
    """How the command's Python code ended."""

    #: By itself, or not at all.
    ITSELF = 0
    #: ``Cancelled`` came out of it, after a signal or after a cancel.
    STOPPED = 1
    CANCELLED = 2


@dataclass(slots=True, frozen=True)
class Wish:
    """Who cancelled the command, and why; both may be empty."""

    by: str = ""
    note: str = ""


class Page:
    """Make it before the fork."""

    def __init__(self) -> None:
        self._map = mmap.mmap(-1, _SIZE)
        #: The words, by :class:`Field`.
        self.words = memoryview(self._map).cast("Q")

    def note_progress(self, done: float, total: float | None, step: str) -> None:
        """How far it is; the numbers before the word that says they are there."""
        _NUMBER.pack_into(self._map, Field.DONE * 8, done)
        if total is not None:
            _NUMBER.pack_into(self._map, Field.TOTAL * 8, total)
        self._write(_STEP, _BY, step)
        self.words[Field.SAID] = 1 if total is None else 2

    @property
    def progress(self) -> tuple[float, float | None, str] | None:
        """Done, total and step, as last told; None when nothing was."""
        said = self.words[Field.SAID]
        if not said:
            return None
        done, total = (_NUMBER.unpack_from(self._map, field * 8)[0] for field in (Field.DONE, Field.TOTAL))
        return done, total if said == 2 else None, self._read(_STEP)

    def note_process(self, process_id: str) -> None:
        """This process of the command runs from now on; empty: none does."""
        node, _, number = process_id.partition(".")
        self.words[Field.NODE] = int(node or "0", 16)
        self.words[Field.NUMBER] = int(number or "0")

    @property
    def process(self) -> str:
        """The id of the process that runs; empty when none does."""
        number = self.words[Field.NUMBER]
        return f"{self.words[Field.NODE]:08x}.{number}" if number else ""

    def note_wish(self, wish: Wish) -> None:
        """Somebody has cancelled the command; the first one counts."""
        if self.words[Field.WISHED]:
            return
        self._write(_BY, _NOTE, wish.by)
        self._write(_NOTE, _SIZE, wish.note)
        self.words[Field.WISHED] = 1

    @property
    def wish(self) -> Wish | None:
        """Who has cancelled it; None when nobody has."""
        return Wish(self._read(_BY), self._read(_NOTE)) if self.words[Field.WISHED] else None

    def _write(self, at: int, end: int, text: str) -> None:
        data = text.encode(errors="replace")[: end - at - _LENGTH.size]
        _LENGTH.pack_into(self._map, at, len(data))
        self._map[at + _LENGTH.size : at + _LENGTH.size + len(data)] = data

    def _read(self, at: int) -> str:
        (size,) = _LENGTH.unpack_from(self._map, at)
        return self._map[at + _LENGTH.size : at + _LENGTH.size + size].decode(errors="replace")
