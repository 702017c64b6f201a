"""The queues of django_graceful in the comparison."""

from __future__ import annotations

from benchmarks.peers import handler
from django_graceful import queue


@queue("mark", max_workers=2)
def mark(payload: int) -> None:
    """One append of 32 bytes."""
    handler.mark(payload)


@queue("late", max_workers=2)
def late(payload: int) -> None:
    """How long ago it was pushed."""
    handler.late(payload)
