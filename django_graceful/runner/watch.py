"""What time brings to a worker: stalls, timeouts, the steps of the ladder, the end of idleness.

:func:`look` does what is due now and says when to look again; the pump calls it in every turn and sleeps no longer
than that.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass

from django_graceful.conf import Conf
from django_graceful.runner.dispatch import STALL, Lane
from django_graceful.runner.handle import Handle, Stage
from django_graceful.runner.slate import Why
from django_graceful.stores.base import Lease

#: The ladder is looked at that often (seconds) while a run that was told to stop goes on; it is signalled again then.
_STEP = 0.05


@dataclass(slots=True, frozen=True)
class Limits:
    """Seconds, and what a worker may live to do."""

    cancel_grace: float
    kill_after: float
    worker_idle: float
    max_jobs: int | None
    max_rss: int | None
    max_crashes: int = 3

    @classmethod
    def of(cls, conf: Conf) -> Limits:
        """As the settings have them."""
        return cls(conf.cancel_grace, conf.kill_after, conf.worker_idle, conf.max_jobs, conf.max_rss, conf.max_crashes)


@dataclass(slots=True)
class Watch:
    """Looks after the workers of one pump."""

    limits: Limits
    lanes: dict[str, Lane]
    give_back: Callable[[list[Lease]], None]
    on_kill: Callable[[Handle], None]

    def look(self, worker: Handle, now: float) -> float:
        """Do what is due for this worker; when to look again (monotonic seconds, ``inf`` for never)."""
        if worker.stage is Stage.GONE:
            return math.inf
        if worker.stage is Stage.RETIRING:
            worker.retire()
        if not worker.units:
            return self._idle(worker, now)
        return min(self._stall(worker, now), self._timeout(worker, now), self._ladder(worker, now))

    def _idle(self, worker: Handle, now: float) -> float:
        if worker.stage is not Stage.READY:
            return math.inf
        ends = worker.hands.idle_since + self.limits.worker_idle
        if now >= ends or self.spent(worker):
            worker.retire()
            return math.inf
        return ends

    def spent(self, worker: Handle) -> bool:
        """Whether the worker has done what it may do, or has grown beyond what it may have."""
        limits = self.limits
        if limits.max_jobs is not None and worker.jobs >= limits.max_jobs:
            return True
        return limits.max_rss is not None and resident(worker.pid) > limits.max_rss

    def _stall(self, worker: Handle, now: float) -> float:
        """What lies behind a slow item goes back, for others to take."""
        if len(worker.units) < 2:
            return math.inf
        lane = self.lanes[worker.units[0].queue]
        if len(worker.units) <= lane.threads:
            return math.inf
        moved = worker.hands.moved_at
        if now < moved + STALL:
            return moved + STALL
        lane.learn(1, now - moved)
        self.give_back(worker.take_back())
        return math.inf

    def _timeout(self, worker: Handle, now: float) -> float:
        """Who runs longer than he may is told to stop; when the next one does, or one that begins just now."""
        hands = worker.hands
        if hands.shortest == math.inf:
            return math.inf
        soonest = now + hands.shortest
        for run in worker.runs():
            if run.unit.limit is None:
                continue
            left = run.unit.limit - run.seconds
            if left <= 0:
                worker.stop(Why.TIMEOUT, run.unit.last)
                left = _STEP
            soonest = min(soonest, now + left)
        return soonest

    def _ladder(self, worker: Handle, now: float) -> float:
        """A run that was told to stop and did not within its grace is killed, with its worker."""
        soonest = math.inf
        for execution, (why, since) in worker.stops.items():
            due = since + (self.limits.kill_after if why is Why.SHUTDOWN else self.limits.cancel_grace)
            if now >= due:
                if any(run.unit.last == execution for run in worker.runs()):  # else it ended, and was not told yet
                    self.on_kill(worker)
                due = now + _STEP
            soonest = min(soonest, due)
        if worker.stops:
            worker.remind(_STEP)
            soonest = min(soonest, now + _STEP)
        return soonest


def resident(pid: int) -> int:
    """The resident memory of a process, in bytes; 0 when it can not be told."""
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    except (OSError, ValueError, IndexError):
        return 0
