"""What the benchmarks push."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import Any

from django_graceful import queue


@queue("noop")
def noop(payload: Any) -> None:
    """Nothing."""


@queue("latency", max_workers=1)
def latency(payload: dict[str, int]) -> None:
    """Write down how long the item took from its push to here."""
    _write(f"{time.monotonic_ns() - payload['pushed']}\n")


@queue("mark", max_workers=2)
def mark(payload: int) -> None:
    """Write the number down: one 32-byte append, as the peers' harness does."""
    _write(f"{payload:031d}\n")


@queue("held", max_workers=1)
def held(payload: dict[str, Any]) -> None:
    """Works until it is stopped, by sleeping or in a loop of Python; ``deaf``: it does not stop."""
    n, how = payload["n"], payload["how"]
    try:
        _tell("start", n)
        while how != "sleep":
            _hold(how)
        time.sleep(600)
    finally:
        _tell("left", n)


def _hold(how: str) -> None:
    if how == "loop":
        sum(range(100))
        return
    with suppress(BaseException):
        time.sleep(600)


def _tell(word: str, n: int) -> None:
    _write(f"{word} {n} {os.getpid()} {time.monotonic_ns()}\n")


_fd = -1


def _write(line: str) -> None:
    global _fd
    if _fd < 0:
        _fd = os.open(os.environ["BENCH_OUT"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(_fd, line.encode())
