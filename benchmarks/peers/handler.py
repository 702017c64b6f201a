"""What every system runs: one append of 32 bytes. Needs nothing but Python."""

from __future__ import annotations

import os
import time
from functools import cache
from pathlib import Path

#: Bytes of a line.
WIDTH = 32

#: Seconds that a handler takes before it writes, in the kill test.
NAP = float(os.environ.get("PEERS_NAP", "0"))

#: What is written below the directory of a measurement.
MARKS, DELAYS = "marks", "delays"


def mark(number: int) -> None:
    """The item with this number has been handled."""
    if NAP:
        time.sleep(NAP)
    note(number)


def late(moment: int) -> None:
    """Write how long ago the item was pushed: ``moment`` in monotonic nanoseconds."""
    waited = time.monotonic_ns() - moment
    _append(DELAYS, waited)


def note(number: int) -> None:
    """Write the number, without the nap: for handlers that are coroutines."""
    _append(MARKS, number)


def _append(name: str, value: int) -> None:
    os.write(_opened(name), f"{value:0{WIDTH - 1}d}\n".encode())


@cache
def _opened(name: str) -> int:
    return os.open(Path(os.environ["PEERS_PLACE"]) / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
