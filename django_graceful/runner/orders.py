"""What a runner is asked to do, and the exit code that says how it went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class Orders:
    """What the command line asks for."""

    queues: Sequence[str] = ()
    exclude: Sequence[str] = ()
    #: Handle what is there, then end.
    drain: bool = False
    max_processes: int | None = None
    strict_exit: bool = False


def exit_code(strict: bool, interrupted: int, killed: int) -> int:
    """0 for an orderly stop; with ``strict`` 3 when something was interrupted and 4 when something was killed."""
    if not strict:
        return 0
    return 4 if killed else 3 if interrupted else 0
