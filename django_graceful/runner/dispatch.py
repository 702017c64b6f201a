"""Which queue a worker serves next, and how much it gets: plain functions on values.

Fairness: the queue that was served longest ago comes first, so a flood in one queue never starves another. Prefetch:
a worker holds a few milliseconds of work (learned per queue), twice over, so that it never waits for the master; what
lies behind a slow item is taken back. A worker that runs several items at once holds one for each of its threads, and
the next few milliseconds of work behind them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

#: The seconds of work in one chunk, and the most items.
CHUNK_SECONDS = 0.008
CHUNK_MOST = 400
#: A worker that made no progress for that many seconds gives back what it has not begun.
STALL = 0.02


@dataclass(slots=True)
class Lane:
    """A queue as the dispatcher sees it."""

    name: str
    limit: int
    batch_length: int = 1
    #: Items that one worker runs at the same time.
    threads: int = 1
    #: The longest that an item without a time of its own may run, in seconds.
    timeout: float | None = None
    #: Learned seconds per item; None until the first is done.
    cost: float | None = None
    #: When it was last served, as a turn number.
    served: int = 0
    #: Workers that hold items of it.
    workers: int = 0
    #: The size of the last chunk: growth is gradual, a single quick item proves little.
    chunk: int = 1
    #: An unfilled batch waits until then (monotonic seconds).
    fill_by: float = 0.0

    def learn(self, count: int, seconds: float) -> None:
        """``count`` items took that long. The latest counts for half: one that is truly slow still shows at once."""
        each = seconds / count
        self.cost = each if self.cost is None else (self.cost + each) / 2

    @property
    def size_now(self) -> int:
        """What one worker can be given at once, today."""
        return max(self.batch_length, self.threads, self.chunk)

    def size(self) -> int:
        """How many items the next chunk has (for batch queues: one batch)."""
        if self.batch_length > 1:
            return self.batch_length
        if self.cost is None:
            return 1
        fits = int(CHUNK_SECONDS * self.threads / self.cost) if self.cost > 0 else CHUNK_MOST
        self.chunk = max(1, min(CHUNK_MOST, fits, self.chunk * 2))
        return self.chunk

    def full(self, held: int) -> bool:
        """Whether a worker that holds ``held`` units of this queue needs no more now."""
        if self.threads > 1:
            return held >= self.threads + (self.chunk if self.chunk > 1 else 0)
        return held > 0 and (self.batch_length > 1 or self.chunk <= 1 or held > self.chunk)

    def room(self, held: int, *, moving: bool) -> int:
        """How many items a worker that is not full is to be given now.

        ``moving``: one of those that it holds has ended a moment ago.
        """
        if self.threads == 1:
            return self.size()
        ahead = self.size() if moving else 1
        return max(0, self.threads + (ahead if ahead > 1 else 0) - held)


def choose(lanes: Iterable[Lane], ready: dict[str, int], holding: str | None) -> Lane | None:
    """The lane that a worker should be given items of, or None.

    ``ready`` has the items that can be leased. ``holding`` is the queue of what the worker has in hand, or None when
    it is idle. A worker that holds items of one queue is only given more of the same, and only when it is that
    queue's turn; else it runs dry first.
    """
    best = None
    for lane in lanes:
        if not ready.get(lane.name):
            continue
        if lane.name != holding and lane.workers >= lane.limit:
            continue
        if best is None or lane.served < best.served:
            best = lane
    if best is not None and holding is not None and best.name != holding:
        return None
    return best


def workers_wanted(lanes: Iterable[Lane], ready: dict[str, int]) -> int:
    """How many more workers the ready items could use."""
    return sum(
        min(lane.limit - lane.workers, -(-ready[lane.name] // lane.size_now)) for lane in lanes if ready.get(lane.name)
    )
