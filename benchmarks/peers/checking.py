"""Whether everything that was pushed has been handled, and once. Pure, but for reading the file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.handler import WIDTH


@dataclass(slots=True, frozen=True)
class Verdict:
    """What became of the numbers from 0 up to that many."""

    #: Numbers that nobody has handled.
    lost: int
    #: Numbers that were handled more than once.
    doubled: int

    @property
    def exact(self) -> bool:
        """Each once."""
        return not self.lost and not self.doubled

    def __str__(self) -> str:
        return f"{self.lost} lost, {self.doubled} done more than once"


def judge(seen: Iterable[int], number: int) -> Verdict:
    """Compare what was handled with ``range(number)``; ValueError for a number that was never pushed."""
    counts = Counter(seen)
    if strange := sorted(n for n in counts if not 0 <= n < number):
        raise ValueError(f"{strange[0]} was handled, but only 0 to {number - 1} were pushed")
    return Verdict(number - len(counts), sum(count > 1 for count in counts.values()))


def written(path: Path) -> list[int]:
    """The values in a file of the handlers, in their order; ValueError where something else stands."""
    content = path.read_bytes() if path.exists() else b""
    lines = [content[at : at + WIDTH] for at in range(0, len(content), WIDTH)]
    for line in lines:
        if len(line) != WIDTH or not line[:-1].isdigit() or line[-1:] != b"\n":
            raise ValueError(f"{path} holds {line!r}, which no handler has written")
    return [int(line) for line in lines]


def length(path: Path) -> int:
    """How many values stand in the file now, without reading it."""
    return path.stat().st_size // WIDTH if path.exists() else 0
