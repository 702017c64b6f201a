"""The threads that run what this process keeps in memory: daemons, begun by the first push, as many as ``THREADS``.

They take no signal, so whoever waits for one in another thread still gets it. Where gevent has replaced threads, they
are greenlets like those of the site's requests. They end when the store is closed, each after what it runs.
"""

from __future__ import annotations

import _thread
import logging
import queue
import signal
import sys
import threading
from collections.abc import Callable

from django.db import connections

from django_graceful.items import Outcome
from django_graceful.runner.tidying import Tidier
from django_graceful.runner.wire import Report, Unit
from django_graceful.spill.keeper import Keeper
from django_graceful.spill.running import Run
from django_graceful.stores.base import Ending, Wish

logger = logging.getLogger("django_graceful.spill")


class Hands:
    """``number`` threads for the keeper's items. Both functions are called in such a thread: ``ended`` when how a unit
    ended is written down, ``rest`` when nothing has happened for a while.
    """

    def __init__(
        self,
        name: str,
        keeper: Keeper,
        number: int,
        ended: Callable[[list[Ending]], None],
        rest: Callable[[], None],
    ) -> None:
        self._name, self._keeper, self._number, self._ended, self._rest = name, keeper, number, ended, rest
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._seats: dict[int, object] = {}
        #: Threads that sleep or are about to: who pushes looks here after the push, they look for items after this.
        self._idle: dict[int, None] = {}
        self._runs: dict[int, Run] = {}
        #: By execution: what was wished for of runs that have not ended.
        self._wishes: dict[int, Wish] = {}
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether one of them runs something, or writes down how it ended."""
        return bool(self._runs)

    def wake(self) -> None:
        """Something was pushed. Takes no lock. Raises ``RuntimeError`` when the first thread can not be started."""
        if not self.look_again() and len(self._seats) < self._number:
            self._begin()

    def look_again(self) -> bool:
        """There may be something to run now; whether a thread sleeps that looks for it."""
        if self._idle:
            self._bell.put(None)
        return bool(self._idle)

    def close(self) -> None:
        """Begin nothing any more; what runs goes on."""
        self._closed = True
        for _ in range(self._number):
            self._bell.put(None)

    def heed(self, wishes: list[Wish]) -> None:
        """Cancel what is wished for, if it still runs."""
        self._wishes.update({wish.execution: wish for wish in wishes})
        for run in list(self._runs.values()):
            for wish in wishes:
                run.heed(wish)

    def cancel(self, note: str) -> None:
        """Cancel all that runs: the process stops."""
        for run in list(self._runs.values()):
            if run.process is not None:
                run.process.cancel("shutdown", note=note)

    def _begin(self) -> None:
        seat, mine = len(self._seats), object()
        if self._seats.setdefault(seat, mine) is not mine:  # another thread begins this one
            return
        try:
            _start_thread(self._work, seat)
        except BaseException:
            del self._seats[seat]
            if not self._seats:
                raise

    def _work(self, seat: int) -> None:
        threading.current_thread().name = f"graceful {self._name} {seat}"
        tidier = Tidier()
        try:
            while (unit := self._next()) is not None:
                self._run(unit, tidier)
        finally:
            connections.close_all()

    def _next(self) -> Unit | None:
        """The next unit; sleeps until there is one. None: the end."""
        me = threading.get_ident()
        while not self._closed:
            while not self._bell.empty():
                self._bell.get()
            self._idle[me] = None
            try:
                unit, wait = self._keeper.lease()
                if unit is None:
                    self._sleep(wait)
            finally:
                del self._idle[me]
            if unit is not None:
                if not wait:  # there is more
                    self.wake()
                return unit
        return None

    def _sleep(self, seconds: float) -> None:
        try:
            if seconds and not self._closed:
                self._bell.get(timeout=seconds)
        except queue.Empty:
            self._rest()

    def _run(self, unit: Unit, tidier: Tidier) -> None:
        me, run = threading.get_ident(), None
        try:
            run = self._runs[me] = Run(unit, self._keeper.handled)
            for wish in list(self._wishes.values()):  # those that came before it could be found
                run.heed(wish)
            report = run.perform(tidier)
        except BaseException:  # our own fault: as if it had died under the items
            logger.exception("a thread that runs queue %s", unit.queue)
            report = Report(endings=[Ending(lease.execution, Outcome.CRASHED) for lease in unit.leases])
        self._keeper.finish(unit, report.done, report.endings)
        self._ended(report.endings)
        for lease in unit.leases:
            self._wishes.pop(lease.execution, None)
        if run is not None:
            run.leave()
        self._runs.pop(me, None)


def _start_thread(work: Callable[[int], None], seat: int) -> None:
    """Not by ``threading``: a signal handler that pushes may have interrupted code which holds its locks."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("threading"):  # a greenlet has no mask of its own
        _thread.start_new_thread(work, (seat,))
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        _thread.start_new_thread(work, (seat,))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
