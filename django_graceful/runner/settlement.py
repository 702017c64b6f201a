"""What workers have said and the store has not yet written down.

:meth:`Settlement.gather` takes from the workers, :meth:`Settlement.write` gives to the store in one write, and only
then are the workers told ("written down") and the log written. When the store can not write, everything stays here
for the next try.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from django_graceful.items import Outcome, decode_header, decode_meta
from django_graceful.queues import all_queues
from django_graceful.runner.dispatch import Lane
from django_graceful.runner.handle import Handle, Stage
from django_graceful.runner.outcomes import own_options, stopped
from django_graceful.runner.slate import Why
from django_graceful.runner.tally import Tally
from django_graceful.runner.wire import Done, Ended, News, Report, Unit
from django_graceful.schedule.running import Chronicle
from django_graceful.stores.base import Ending, Lease, StoreOwner, Wish

logger = logging.getLogger("django_graceful.runner")

#: Killed by the ladder: no jitter is needed where no dependency failed.
_SPREAD = 0.5
#: Refused executions that are named.
_NAMED = 10
#: Whoever came to such an end before being stopped stays there.
_FOR_GOOD = (Outcome.DONE, Outcome.DEAD)


class Settlement:
    """The unwritten ends of executions."""

    def __init__(self, lanes: dict[str, Lane], tally: Tally) -> None:
        self._lanes = lanes
        self._tally = tally
        self._done: list[int] = []
        self._endings: list[Ending] = []
        self._released: list[int] = []
        self._afterwards: list[Callable[[], None]] = []
        self._chronicle = Chronicle()
        #: Items that died with their worker, for the next worker to tell the site.
        self.news: list[News] = []
        #: Who wished for which execution to stop, and why.
        self.wishes: dict[int, Wish] = {}

    def __bool__(self) -> bool:
        return bool(self._done or self._endings or self._released or self._afterwards or self._chronicle)

    def gather(self, worker: Handle) -> None:
        """Take over all that the worker has said, and all that it held if it is gone."""
        for said in worker.done:
            lane = self._lanes[worker.units[0].queue]
            held = len(worker.units)
            leases = worker.settle(said)
            self._time(lane.name, said, leases, held - len(worker.units))
            self._finish(lane.name, leases, said.busy / 1e9)
            lane.learn(max(1, len(leases)), said.busy / 1e9)
        worker.done.clear()
        for report in worker.reports:
            self._take_report(worker, report)
        worker.reports.clear()
        if worker.stage is Stage.GONE:
            self._bury(worker)
        elif worker.stage is Stage.RETIRING:
            self.release(worker.take_back())

    def release(self, leases: list[Lease]) -> None:
        """These were never begun."""
        self._released += [lease.execution for lease in leases]
        self._forget_wishes(leases)
        self._tally.returned += len(leases)

    def end(self, queue: str, lease: Lease, ending: Ending, seconds: float | None = None) -> Outcome:
        """This execution ended that way, after so many seconds; what becomes of its item."""
        wish = self.wishes.pop(lease.execution, None)
        if wish is not None and ending.outcome not in _FOR_GOOD and not ending.by:
            # As the store decides it: a run that was asked to stop never comes back.
            ending = replace(ending, outcome=Outcome.CANCELLED, by=wish.by, reason=wish.reason)
        self._endings.append(ending)
        self._afterwards.append(lambda: self._tally.ended(queue, lease, ending))
        outcome = self._tally.final(lease, ending.outcome)
        self._chronicle.note(queue, [lease], outcome, seconds)
        return outcome

    def write(self, owner: StoreOwner) -> None:
        """Write everything down, then tell. Raises what the store raises; nothing is lost then."""
        if self._done or self._endings:
            refused = owner.finish(self._done, self._endings)
            self._done, self._endings = [], []
            if refused:
                self._chronicle.forget(refused)
                logger.warning("refused by the store, because they had lost their leases or ended: %s", _named(refused))
        if self._released:
            owner.release(self._released)
            self._released = []
        self._chronicle.write(owner)
        afterwards, self._afterwards = self._afterwards, []
        for tell in afterwards:
            tell()

    def _finish(self, queue: str, leases: list[Lease], seconds: float) -> None:
        if not leases:
            return
        self._done += [lease.execution for lease in leases]
        self._forget_wishes(leases)
        self._chronicle.note(queue, leases, Outcome.DONE, seconds / len(leases) if seconds else None)
        self._afterwards.append(lambda: self._tally.done(queue, leases, seconds))

    def _time(self, queue: str, said: Done | Ended, leases: list[Lease], runs: int) -> None:
        if isinstance(said, Done):
            self._tally.took(queue, leases, runs, said.busy / 1e9)
            return
        took = dict(zip(said.executions, said.took, strict=True))
        for lease in leases:  # a worker of several runs at once has no batches
            self._tally.took(queue, [lease], 1, took.get(lease.execution, 0) / 1e9)

    def _forget_wishes(self, leases: list[Lease]) -> None:
        if self.wishes:
            for lease in leases:
                self.wishes.pop(lease.execution, None)

    def _take_report(self, worker: Handle, report: Report) -> None:
        named = {*report.done, *(ending.execution for ending in report.endings)}
        unit = worker.hands.find(min(named, default=0))
        if unit is None or named != {lease.execution for lease in unit.leases}:
            worker.kill()  # it speaks of what it was not given: nothing that it says can be believed
            return
        leases = {lease.execution: lease for lease in worker.settle_these([unit.last])}
        lane = self._lanes[unit.queue]
        lane.learn(len(leases), report.busy / 1e9)
        self._tally.took(unit.queue, unit.leases, 1, report.busy / 1e9)
        self._finish(unit.queue, [leases[execution] for execution in report.done], report.busy / 1e9)
        for ending in report.endings:
            self.end(unit.queue, leases[ending.execution], ending, report.busy / 1e9)
        self._afterwards.append(worker.acknowledge)

    def _bury(self, worker: Handle) -> None:
        """A worker is gone: what it had finished is done, what it had not begun goes back (also what it had a token
        for, but not written down as begun), what ran is told by its death.
        """
        progress = worker.progress
        self.release(worker.settle_these([unit.last for unit in worker.units if unit.last > progress.started]))
        if worker.units:
            queue = worker.units[0].queue
            self._finish(queue, worker.settle_these([u.last for u in worker.units if progress.ended(u.last)]), 0.0)
        for unit in worker.units:
            stop = worker.stops.get(unit.last)
            self._finish(unit.queue, [lease for lease in unit.leases if lease.execution in progress.handled], 0.0)
            for lease in unit.leases:
                if lease.execution not in progress.handled:
                    self._lay_out(unit.queue, lease, _death(worker, unit, lease, stop[0] if stop else None))
        worker.units.clear()
        self._afterwards.append(worker.close)

    def _lay_out(self, queue: str, lease: Lease, ending: Ending) -> None:
        if self.end(queue, lease, ending) is Outcome.DEAD:
            self.news.append(News(queue, ending.reason, lease.record))


def _death(worker: Handle, unit: Unit, lease: Lease, why: Why | None) -> Ending:
    """The ending of a run whose worker died: as ordered, when it was killed for not stopping; interrupted, when another
    of its runs was killed for that; else a crash.
    """
    if why is None and worker.killed_at is not None:
        return Ending(lease.execution, Outcome.INTERRUPTED, reason="its worker was killed for another item")
    if why is not None:
        header = decode_header(lease.record)
        options, failures = own_options(all_queues()[unit.queue].options, decode_meta(header.meta)), header.attempt
        ending = stopped(lease.execution, why, failures, options, spread=_SPREAD, batch=unit.batch, limit=unit.limit)
        if ending.error is None or worker.killed_at is None:
            return ending
        return replace(ending, error={**ending.error, "killed_at": worker.killed_at})
    reason = f"the worker (pid {worker.pid}) {_manner(worker.exit_status or 0)}"
    error = {"type": "worker died", "message": reason, "traceback": "", "worker": worker.name}
    return Ending(lease.execution, Outcome.CRASHED, error=error, reason=reason)


def _named(executions: set[int]) -> str:
    """A few of them, in words."""
    first = ", ".join(map(str, sorted(executions)[:_NAMED]))
    return f"execution {first}" + (f" and {len(executions) - _NAMED} more" if len(executions) > _NAMED else "")


def _manner(status: int) -> str:
    if status < 0:
        name = str(-status)
        with suppress(ValueError):
            name = signal.Signals(-status).name
        return f"was killed by {name}"
    return f"ended with exit code {status}"
