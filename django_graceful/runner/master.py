"""The master process of ``runqueues``: phases, signals, limits. It runs no handler and no receiver of the site.

Order at start: fork server (before any thread or store), then the stores, then the event loop. Order at the end:
nothing runs → workers end → outcomes are written with sync → stores close → fork server ends. A thread takes the
signals (:mod:`~django_graceful.runner.listener`); the loop acts.

=================  =========================================================================
TERM, INT          drain; a second one hammers, a third one kills
QUIT, USR2         hammer now
HUP                drain, then start again in place (same pid, new code)
TSTP, CONT         quiet (take no new work), and back
USR1               the stacks of all processes go to the log
=================  =========================================================================

Before :meth:`Master.run`, while Python and Django are being set up, signals have their default action: the process
has opened nothing then, and nothing can be lost. From then on they are noted, and obeyed as soon as the loop runs.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django_graceful.conf import get_conf
from django_graceful.exceptions import StoreError
from django_graceful.lifecycle import Event, Phase, follow
from django_graceful.notify import Notifier
from django_graceful.options import processors
from django_graceful.queues import all_queues
from django_graceful.runner.estate import Estate
from django_graceful.runner.handing import Crew
from django_graceful.runner.herald import Herald
from django_graceful.runner.inquiry import log_stacks
from django_graceful.runner.listener import ENDING, Listener, heed
from django_graceful.runner.nursery import Nursery
from django_graceful.runner.orders import Orders, exit_code
from django_graceful.runner.reload import RELOAD
from django_graceful.runner.showing import Showing
from django_graceful.runner.watch import Limits
from django_graceful.runner.watchdog import Watchdog

logger = logging.getLogger("django_graceful.runner")

#: Seconds between two log lines that name what is waited for.
_NAME_EVERY = 5.0
#: Seconds for workers to end by themselves once nothing runs, and beyond all limits, before the master goes without
#: them.
_FAREWELL = 0.5
_LAST_RESORT = 2.0
#: Promise P4: the process ends at most that many seconds after the last limit. The workers' farewell leaves that much
#: of them for closing the stores.
_BEYOND = 5.0
_MARGIN = 1.5
#: So many signals that ask for the end cut the farewell short.
_IMPATIENT = 3


class Master:
    """One run of the runner."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._conf = get_conf()
        self.phase = Phase.RUNNING
        self.since = time.time()
        self.hammer_at: float | None = None
        self._restart = False
        self._failed = False
        #: How many signals have asked for the end.
        self._asked = 0
        self._over: asyncio.Event | None = None
        self._estate: Estate
        self._nursery: Nursery
        self._watchdog = Watchdog(self._waited_for)
        self._notifier = Notifier(os.environ)
        self._herald = Herald(self._notifier, self._in_short)

    def run(self, watch: Callable[[], threading.Event] | None = None) -> int:
        """Run until told to stop; the exit code. Raises :class:`~django_graceful.exceptions.StoreError` when a store
        can not be opened.
        """
        longest = self._conf.hammer_after + self._conf.kill_after + _BEYOND
        listener = Listener(lambda: self._watchdog.arm(longest))
        nursery = Nursery()
        listener.start()
        changed = watch() if watch is not None else threading.Event()
        try:
            estate = Estate(self._conf, self._orders.queues, self._orders.exclude, ticks=not self._orders.drain)
            code = asyncio.run(self._live(nursery, estate, listener))
        finally:
            nursery.close(patience=max(_FAREWELL, self._watchdog.left() - 1))
            late = listener.stop()
            self._watchdog.disarm()
        if changed.is_set():
            return RELOAD
        if self._restart and not ENDING.intersection(late):
            self._start_again()
        return code

    def _start_again(self) -> None:
        logger.info("starting again in place")
        self._notifier.alive()
        self._notifier.put_back()
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606

    async def _live(self, nursery: Nursery, estate: Estate, listener: Listener) -> int:
        self._estate, self._nursery = estate, nursery
        self._over = asyncio.Event()
        conf = self._conf
        most = self._orders.max_processes or conf.max_processes or max(4, 2 * processors())
        nursery.listen(self._lost_fork_server)
        crew = Crew(nursery, Limits.of(conf), estate.serves, self._changed, most)
        calls = {"runner_status": self.status, "shutdown": self._ordered, **Showing(estate, self.status).calls}
        await estate.open(crew, calls)
        self._say_hello(most)
        self._herald.serves()
        listener.deliver(self._signal)
        await self._over.wait()
        self._enter(Phase.TERMINATE)
        patience = max(_FAREWELL, self._watchdog.left() - _MARGIN)
        await estate.dismiss(patience, lambda: self._asked >= _IMPATIENT)
        await estate.close()
        listener.hold()
        return self._say_goodbye()

    # -- events --------------------------------------------------------------------------------------------------

    def _signal(self, number: int) -> None:
        if number == signal.SIGUSR1:
            self._inquiry = asyncio.ensure_future(log_stacks(self._nursery, self._estate))
            return
        logger.info("%s received", signal.Signals(number).name)
        self._asked += number in ENDING
        event, self._restart = heed(number, self.phase, self._restart)
        if event is not None:
            self.advance(event)

    def _ordered(self) -> str:
        """The ``shutdown`` call of the control socket."""
        self.advance(Event.STOP)
        return self.phase

    def advance(self, event: Event) -> None:
        """Move on, if the event moves anything."""
        before, after = self.phase, follow(self.phase, event)
        if before is after:
            return
        self._enter(after)
        if after is Phase.QUIET:
            logger.info("quiet: no new work is taken until SIGCONT")
            self._estate.each(lambda pump: pump.stop_leasing())
        elif after is Phase.RUNNING:
            logger.info("taking work again")
            self._estate.each(lambda pump: pump.resume_leasing())
        elif after is Phase.DRAINING:
            self._drain()
        elif after is Phase.HAMMER:
            self._hammer(drained=before is Phase.DRAINING)
        elif after is Phase.KILL:
            self._kill()
        elif after is Phase.TERMINATE and self._over is not None:
            self._over.set()

    def _enter(self, phase: Phase) -> None:
        if phase is not self.phase:
            self.phase = phase
            self._herald.tell(phase, restart=self._restart)

    def _drain(self) -> None:
        conf, loop = self._conf, asyncio.get_running_loop()
        self._watchdog.arm(conf.hammer_after + conf.kill_after + _BEYOND)
        self.hammer_at = time.monotonic() + conf.hammer_after
        logger.info("draining: no new work is taken; what runs has %g s", conf.hammer_after)
        loop.call_later(conf.hammer_after, self.advance, Event.HAMMER)
        loop.call_later(_NAME_EVERY, self._name_what_runs)
        self._estate.each(lambda pump: pump.drain(self.hammer_at or 0.0))

    def _hammer(self, *, drained: bool) -> None:
        self._watchdog.arm(self._conf.kill_after + _BEYOND)
        self.hammer_at = now = time.monotonic()
        if drained:
            for worker in self._estate.workers:
                worker.drain(now)
        else:
            self._estate.each(lambda pump: pump.drain(now))
            asyncio.get_running_loop().call_later(_NAME_EVERY, self._name_what_runs)
        if self.phase is not Phase.HAMMER:  # nothing ran: it is over already
            return
        logger.info("hammer: what runs is cancelled, and killed after %g s", self._conf.kill_after)
        self._strike()
        asyncio.get_running_loop().call_later(self._conf.kill_after + _LAST_RESORT, self._give_up)

    def _strike(self) -> None:
        if self.phase is Phase.HAMMER:
            self._estate.each(lambda pump: pump.hammer())
            asyncio.get_running_loop().call_later(0.05, self._strike)  # a run that was just beginning is met too

    def _kill(self) -> None:
        logger.warning("killing what still runs")
        self._watchdog.arm(_BEYOND)
        self._estate.each(lambda pump: pump.kill_all())
        asyncio.get_running_loop().call_later(_LAST_RESORT, self._give_up)

    def _give_up(self) -> None:
        """A worker that not even SIGKILL ends (a dead disk) does not hold the master; its item comes back at the next
        start.
        """
        if self._over is not None and not self._over.is_set():
            logger.error("going without %s", ", ".join(self._estate.named()) or "the rest")
            self._over.set()

    def _changed(self) -> None:
        """After each turn of a pump."""
        if self.phase in (Phase.DRAINING, Phase.HAMMER, Phase.KILL):
            if not self._estate.busy:
                self.advance(Event.IDLE)
        elif self._orders.drain and self.phase is Phase.RUNNING and self._estate.empty:
            self.advance(Event.STOP)

    def _lost_fork_server(self) -> None:
        self._estate.each(lambda pump: pump.turn())
        if not any(pump.worked for pump in self._estate.pumps):
            logger.critical("the fork server ended before any worker was ready; no work can be done")
            self._failed = True
        else:
            logger.critical(
                "the fork server ended; what ran goes back to its queue, and the runner starts again in place"
            )
            self._restart = True
        self.advance(Event.STOP)

    # -- the end -------------------------------------------------------------------------------------------------

    def _name_what_runs(self) -> None:
        if self.phase not in (Phase.DRAINING, Phase.HAMMER, Phase.KILL):
            return
        left = (self.hammer_at or 0.0) - time.monotonic()
        then = f"; hammer in {left:.0f} s" if left > 0 and self.phase is Phase.DRAINING else ""
        logger.info("waiting for %s%s", self._waited_for(), then)
        asyncio.get_running_loop().call_later(_NAME_EVERY, self._name_what_runs)

    def _waited_for(self) -> str:
        """What the end waits for, in words; also called by the watchdog's thread."""
        if self._over is None:
            return "the stores to be opened"
        return ", ".join(self._estate.named()) or "outcomes to be written"

    def _say_hello(self, most: int) -> None:
        names = [name for name in all_queues() if self._estate.serves(name)]
        logger.info("runner %d serves %s with up to %d processes", os.getpid(), ", ".join(names) or "no queue", most)

    def _in_short(self) -> str:
        return f"{self.phase}: {self._estate.in_short()}"

    def _say_goodbye(self) -> int:
        tally = self._estate.tally()
        logger.info("stopped after %.0f s: %s; %s", time.time() - self.since, tally.summary(), self._estate.left)
        if self._failed:
            return 1
        return exit_code(self._orders.strict_exit, tally.interrupted, tally.killed)

    def status(self) -> dict[str, Any]:
        """The ``runner_status`` call of the control socket."""
        left = None if self.hammer_at is None else max(0.0, self.hammer_at - time.monotonic())
        return {
            "pid": os.getpid(),
            "phase": str(self.phase),
            "since": self.since,
            "hammer_in": left,
            "workers": self._estate.describe_workers(),
            "running": self._estate.running(),
        }


def run(orders: Orders, watch: Callable[[], threading.Event] | None = None) -> int:
    """Run the runner in this process; the exit code. A store that can not be opened is said in one line, and the code
    is 1.

    ``watch`` starts watching the code (after the fork server exists) and gives an event that is set when it changed;
    the code is then :data:`~django_graceful.runner.reload.RELOAD`.
    """
    try:
        return Master(orders).run(watch)
    except StoreError as error:
        logger.critical("%s", error)
        return 1
    finally:
        with suppress(OSError):
            sys.stderr.flush()
