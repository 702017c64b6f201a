"""What the engine needs of the ends that producers in other processes use: inbox, board and wake-up socket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from socket import socket
from typing import Protocol


class Board(Protocol):
    """Where producers see how deep a queue is, and whether the owner must be woken."""

    #: Set while the owner sleeps.
    sleeping: bool

    def set_depth(self, queue: str, waiting: int, /) -> None:
        """So many items wait in the store."""


class Taken(Protocol):
    """A stretch of the inbox: what was pushed, and how far each segment is read then."""

    @property
    def entries(self) -> Sequence[tuple[str, bytes]]: ...
    @property
    def positions(self) -> Mapping[bytes, int]: ...
    @property
    def more(self) -> bool: ...
    @property
    def damage(self) -> Sequence[str]: ...


class Intake(Protocol):
    """The reading end of the inbox."""

    def open(self, offsets: Mapping[bytes, int], /) -> object:
        """Begin where the store says that it has taken in so far, by segment."""

    def read(self, limit: int, /) -> Taken:
        """The next items."""

    def advance(self) -> Sequence[bytes]:
        """What was read is in the store now. The segments that are gone for good."""

    def pending(self) -> bool:
        """Whether there is something to read."""


class Wake(Protocol):
    """What a producer rings."""

    @property
    def socket(self) -> socket: ...

    def drain(self) -> object:
        """Not ringing any more."""
