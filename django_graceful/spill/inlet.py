"""What was pushed and not yet taken in: the only place that producers write to.

Nothing here takes a lock or leaves a step half done: a queue of records is a ``deque``, whose methods are one step
each. So a push may be interrupted anywhere (by a cancel of its request, by a signal handler that pushes as well), and
a push in a signal handler is as good as any other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence


class Inlet:
    """Records by queue, in the order of their pushes. Any thread may use it."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[bytes]] = {}

    def __bool__(self) -> bool:
        return any(list(self._waiting.values()))

    def put(self, queue: str, records: Sequence[bytes]) -> None:
        """Add these, all in one step."""
        self._waiting.setdefault(queue, deque()).extend(records)

    def count(self, queue: str) -> int:
        """How many records of that queue are in it."""
        return len(self._waiting.get(queue, ()))

    def take(self) -> dict[str, list[bytes]]:
        """Everything that is in it, which is in it no more."""
        found = ((queue, _emptied(waiting)) for queue, waiting in list(self._waiting.items()))
        return {queue: records for queue, records in found if records}

    def take_back(self, queue: str, records: Sequence[bytes]) -> list[bytes]:
        """Those of ``records`` that nobody has taken; they are in it no more."""
        waiting = self._waiting.get(queue, deque())
        return [record for record in records if _removed(waiting, record)]


def _emptied(waiting: deque[bytes]) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(waiting.popleft())
        except IndexError:
            return found


def _removed(waiting: deque[bytes], record: bytes) -> bool:
    try:
        waiting.remove(record)
    except (ValueError, IndexError):  # taken; or somebody else took something in the middle of the search
        return record in tuple(waiting) and _removed(waiting, record)
    return True
