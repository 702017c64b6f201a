"""A worker that runs several units of one queue at once (``threads``): who sits where, in the worker's main thread.

The main thread only coordinates, in an event loop that is kept for the worker's life: it takes a unit when a seat is
free, never before, so what has no seat can always be taken back; it tells who ended; and it passes a wish to stop on to
the run that it names. It sleeps while nothing happens. Each seat has a thread of its own, also kept; units with an
``async def`` handler are tasks of the loop itself.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from contextlib import suppress
from queue import SimpleQueue

from asgiref.sync import sync_to_async
from django.db import connections

from django_graceful.conf import get_conf
from django_graceful.families import any_left, end_all
from django_graceful.queues import find_queue, get_queue
from django_graceful.runner.executing import tell
from django_graceful.runner.link import TELL_AFTER, Link
from django_graceful.runner.seated import InTask, InThread, Seated
from django_graceful.runner.slate import Slate
from django_graceful.runner.stopping import Stopper
from django_graceful.runner.tidying import Tidier
from django_graceful.runner.wire import News, Unit


class Seating:
    """The seats of one worker."""

    def __init__(self, link: Link, slate: Slate, stopper: Stopper, runner: asyncio.Runner) -> None:
        #: A run was interrupted: the worker takes nothing more.
        self.retiring = False
        self._link, self._slate, self._stopper, self._runner = link, slate, stopper, runner
        self._wide: dict[str, bool] = {}
        self._threads: dict[int, _Thread] = {}
        self._tidier = Tidier()
        self._free: list[int] = []
        self._runs: dict[int, Seated] = {}
        self._ended: deque[Seated] = deque()
        #: Seats whose reports the master has not written down.
        self._unwritten: deque[int] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop
        self._wake: asyncio.Event

    def takes(self, unit: Unit) -> bool:
        """Whether units of this queue run beside others."""
        found = self._wide.get(unit.queue)
        if found is None:
            queue = find_queue(unit.queue)
            found = self._wide[unit.queue] = queue is not None and queue.options.threads > 1
        return found

    def run(self, unit: Unit) -> Unit | None:
        """Run ``unit``, and what comes of its queue before all seats are empty again.

        A unit of another queue that came then is returned: it has its token, and must be run.
        """
        return self._runner.run(self._serve(unit))

    def close(self) -> None:
        """Let the threads end, with their connections. Nothing runs any more, or the master is gone."""
        for thread in self._threads.values():
            thread.end(wait=not self._runs)

    # -- the main thread -------------------------------------------------------------------------------------------

    async def _serve(self, unit: Unit) -> Unit | None:
        queue = get_queue(unit.queue)
        self._loop, self._wake = asyncio.get_running_loop(), asyncio.Event()
        self._free = list(reversed(range(queue.options.threads)))
        self._loop.add_reader(self._link.fileno(), self._wake.set)
        self._stopper.pass_on = self._on_signal
        following: Unit | None = unit
        try:
            while True:
                self._wake.clear()
                self._hear()
                self._collect()
                following = self._fill(unit.queue, following, in_tasks=queue.is_async)
                self._tell()
                if not self._runs and not self._unwritten:
                    break
                await self._wake.wait()
        finally:
            self._stopper.pass_on = None
            self._loop.remove_reader(self._link.fileno())
            self._loop.remove_reader(self._link.tokens)
        if queue.is_async:
            await sync_to_async(self._tidier.after)()
        if any_left():  # of threads that belong to no process
            end_all(get_conf().cancel_grace / 2)
        return following

    def _hear(self) -> None:
        """Take in what the master says."""
        for _ in range(self._link.hear()):
            seat = self._unwritten.popleft()
            self._slate.rise(seat)
            self._free.append(seat)
        if self._link.retired:  # it is gone, and writes nothing down
            self._unwritten.clear()
        while self._link.news:
            self._loop.run_in_executor(None, _tell, self._link.news.popleft())

    def _collect(self) -> None:
        """Look after those that have ended."""
        while self._ended:
            run = self._ended.popleft()
            del self._runs[run.unit.last]
            if run.failure is not None:
                raise run.failure
            if run.report is None:
                self._free.append(run.seat)
                self._link.ended(run.unit, run.busy)
            else:
                run.report.busy = run.busy
                self.retiring = self.retiring or run.report.retiring
                self._link.submit(run.report)
                self._unwritten.append(run.seat)

    def _fill(self, name: str, unit: Unit | None, *, in_tasks: bool) -> Unit | None:
        """Begin units while there are seats; the first one of another queue is returned."""
        while self._free and not self.retiring:
            unit = unit or self._link.take()
            if unit is None or unit.queue != name:
                break
            self._seat(unit, in_tasks=in_tasks)
            unit = None
        if unit is None and self._free and not self.retiring and not self._link.retired:
            self._loop.add_reader(self._link.tokens, self._wake.set)
        else:
            self._loop.remove_reader(self._link.tokens)
        return unit

    def _seat(self, unit: Unit, *, in_tasks: bool) -> None:
        seat = self._free.pop()
        run: InTask | InThread
        run = (InTask if in_tasks else InThread)(unit, seat, self._slate, self._left)
        self._runs[unit.last] = run
        self._pass_on(run)  # a wish may be older than the seat
        if isinstance(run, InTask):
            run.start(self._tidier)
        else:
            self._thread(seat).inbox.put(run)

    def _thread(self, seat: int) -> _Thread:
        if seat not in self._threads:
            self._threads[seat] = _Thread(seat)
        return self._threads[seat]

    def _tell(self) -> None:
        """Tell the master of plain successes: at once when there is room for more, else a few milliseconds later."""
        if self._free:
            self._link.tell()
        elif self._link.untold and self._timer is None:
            self._timer = self._loop.call_later(TELL_AFTER / 1e9, self._tell_late)

    def _tell_late(self) -> None:
        self._timer = None
        self._link.tell()

    # -- wishes ------------------------------------------------------------------------------------------------

    def _on_signal(self) -> None:
        """In the signal handler, anywhere in the main thread."""
        self._loop.call_soon_threadsafe(self._pass_all_on)

    def _pass_all_on(self) -> None:
        for run in self._runs.values():
            self._pass_on(run)

    def _pass_on(self, run: Seated) -> None:
        why = self._slate.asked(run.unit.last)
        if why is not None:
            run.stop(why)

    # -- any thread ----------------------------------------------------------------------------------------------

    def _left(self, run: Seated) -> None:
        self._ended.append(run)
        with suppress(RuntimeError):  # the loop is closed: the worker is at its end
            self._loop.call_soon_threadsafe(self._wake.set)


class _Thread:
    """The thread of one seat: runs what is put into its inbox, one after the other."""

    def __init__(self, seat: int) -> None:
        self.inbox: SimpleQueue[InThread | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"graceful: seat {seat}", daemon=True)
        self._thread.start()

    def end(self, *, wait: bool) -> None:
        """Let it end when it has nothing to do."""
        self.inbox.put(None)
        if wait:
            self._thread.join()

    def _work(self) -> None:
        tidier = Tidier()
        while (run := self.inbox.get()) is not None:
            run.run(tidier)
        connections.close_all()


def _tell(news: News) -> None:
    try:
        tell(news)
    finally:
        connections.close_all()
