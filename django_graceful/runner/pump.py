"""One store and its workers: takes in, leases, hands out, writes down. Runs in the master's loop; never runs a handler.

All state changes of the store happen in :meth:`Pump.turn`, one after the other, in as few writes as possible;
everything else only asks for a turn. What a worker said is kept until the store has written it down: an unwritable
disk or a server that is away delays outcomes, it does not lose them. Meanwhile jobs go on, and their limits are kept.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from math import inf

from django_graceful.exceptions import StoreError
from django_graceful.runner.handing import Crew, Handing
from django_graceful.runner.handle import Handle, Stage
from django_graceful.runner.renewing import Renewal
from django_graceful.runner.settlement import Settlement
from django_graceful.runner.slate import SlateDirectory, Why
from django_graceful.runner.tally import Tally
from django_graceful.runner.watch import Watch
from django_graceful.runner.wishes import Wishes
from django_graceful.schedule.plans import Plan
from django_graceful.schedule.ticker import Ticker
from django_graceful.stores.base import StoreOwner

logger = logging.getLogger("django_graceful.runner")

#: Items taken in at a time; in between, workers are served.
_INTAKE = 1000
#: Seconds between two housekeepings of the store.
_SWEEP = 60.0
#: The longest sleep: a wake-up that got lost, or a clock that was set, is noticed after that many seconds.
_LONGEST_SLEEP = 2.0
#: Pauses after a store error, and after a worker that could not start, in seconds.
_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


class Pump:
    """Everything between one store and its workers."""

    def __init__(
        self, alias: str, owner: StoreOwner, slates: SlateDirectory, crew: Crew, plans: Iterable[Plan] = ()
    ) -> None:
        self.alias = alias
        self.owner = owner
        self.tally = Tally(crew.limits.max_crashes)
        self.workers: list[Handle] = []
        #: Called once, when all that was pushed before the start has been taken in.
        self.on_caught_up: Callable[[], None] | None = None
        self.leasing = True
        #: A worker has been ready, once.
        self.worked = False
        self._crew = crew
        self._handing = Handing(owner, crew, self.workers, slates, self._heard)
        self._lanes = self._handing.lanes
        self._settlement = Settlement(self._lanes, self.tally)
        self._wishes = Wishes(owner, self.workers, self._settlement)
        self._ticker = Ticker(owner, plans)
        self._renewal = Renewal(owner, self.workers, self._settlement)
        self._watch = Watch(crew.limits, self._lanes, self._settlement.release, self._kill)
        self._handing.watch = self._watch
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._asked = False
        self._closed = False
        self._turns = 0
        self._waiting: dict[str, int] = {}
        #: The pause after the last turn, which the store has refused (0: it has not), and its end, monotonic seconds.
        self._pause = self._retry_at = 0.0
        self._failing_since = 0.0
        self._sweep_at = time.monotonic() + _SWEEP
        self._more = True
        self._wake = owner.wake_socket()
        if self._wake is not None:
            self._loop.add_reader(self._wake, self._woken)

    # -- what others ask -----------------------------------------------------------------------------------------

    def kick(self) -> None:
        """Ask for a turn, soon."""
        if not self._asked:
            self._asked = True
            self._loop.call_soon(self.turn)

    @property
    def busy(self) -> bool:
        """Whether a worker holds an item, or an outcome is not written down."""
        return bool(self._settlement) or any(worker.units for worker in self.workers)

    @property
    def failing(self) -> bool:
        """Whether the store could not be reached or written the last time."""
        return self._pause > 0

    @property
    def empty(self) -> bool:
        """Nothing runs and nothing waits that could run now."""
        return not self.busy and not self._more and not self.failing and not any(map(self._crew.serves, self.waiting()))

    def waiting(self) -> dict[str, int]:
        """How many items of each queue can be leased, as far as that is known just now."""
        with suppress(StoreError):
            if not self.failing:
                self._waiting = self.owner.ready()
        return self._waiting

    def stop_leasing(self) -> None:
        """Hand out nothing more, and take back at once what no worker has begun."""
        self.leasing = False
        for worker in self.workers:
            self._settlement.release(worker.take_back())
        self.turn()

    def drain(self, hammer_at: float) -> None:
        """As :meth:`stop_leasing`, for good: jobs see that the node drains, and when the hammer comes (monotonic
        seconds).
        """
        for worker in self.workers:
            worker.drain(hammer_at)
        self.stop_leasing()

    def dismiss(self) -> None:
        """Let every worker end; nothing runs any more."""
        for worker in self.workers:
            worker.retire()

    def resume_leasing(self) -> None:
        """Undo :meth:`stop_leasing`."""
        self.leasing = True
        self.kick()

    def hammer(self) -> None:
        """Tell every run to stop."""
        for worker in self.workers:
            worker.stop(Why.SHUTDOWN)
        self.kick()

    def kill_all(self) -> None:
        """SIGKILL to every worker that is still busy; its item is interrupted, not crashed."""
        for worker in self.workers:
            if worker.units:
                worker.stop(Why.SHUTDOWN)
                self._kill(worker)

    def close(self) -> None:
        """Write down what is left and close the store; workers must be gone or idle."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._wake is not None:
            self._loop.remove_reader(self._wake)
        try:
            if not (self.failing and self.owner.remote):  # that was tried just now, and may take time
                self._settlement.write(self.owner)
        except StoreError as error:
            logger.error("store %s: %s", self.alias, error)
        if self._settlement:
            logger.error("store %s: the next start here knows from the slates what was done", self.alias)
        self.owner.close()

    # -- the turn ------------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """One round: take in, write down, hand out, look at the clock, and decide how long to sleep."""
        self._asked = False
        if self._closed:  # a worker's end came after ours
            return
        self._turns += 1
        if time.monotonic() < self._retry_at:
            self._wait_for_store()
        else:
            self._work()
        self._crew.changed()

    def _work(self) -> None:
        try:
            self._settlement.write(self.owner)
            self._renewal.keep()  # before others' leases are looked at: after an outage ours may have run out
            self._more = self.owner.prepare(_INTAKE)
            self._tell_notices()
            self._catch_up()
            if self.leasing:
                self._ticker.turn()
            self._wishes.grant()
            self._settle()
            self._spread_news()
            if self.leasing and self._crew.nursery.alive:
                self._handing.hand_out(self._turns, bool(self._settlement.news))
            wake_at = self._look()
            self._settlement.write(self.owner)
            self._sweep()
            self._rest(wake_at)
            self._well_again()
        except StoreError as error:
            self._failed(f"{error}; trying again, nothing is lost")
        except Exception:
            logger.exception("store %s: a fault of the runner itself", self.alias)
            self._failed("trying again, nothing is lost")

    def _wait_for_store(self) -> None:
        """What can be done without the store: hear the workers, and keep their limits."""
        self._gather()
        self._sleep(max(0.0, min(self._look(), self._retry_at) - time.monotonic()))

    def _catch_up(self) -> None:
        if not self._more and self.on_caught_up is not None:
            self.on_caught_up()
            self.on_caught_up = None

    def _tell_notices(self) -> None:
        for notice in self.owner.notices:
            logger.warning("store %s: %s", self.alias, notice)
        self.owner.notices.clear()

    def _settle(self) -> None:
        self._gather()
        self._settlement.write(self.owner)

    def _gather(self) -> None:
        for worker in list(self.workers):
            self._settlement.gather(worker)
            if worker.stage is Stage.GONE:
                self._lose(worker)

    def _lose(self, worker: Handle) -> None:
        self.workers.remove(worker)
        self.worked = self.worked or worker.came_up
        self._crew.used -= 1
        if not worker.came_up and worker.killed_at is None and self._crew.nursery.alive:
            logger.error("a worker ended before it was ready (exit status %s)", worker.exit_status)
            self._handing.no_spawn_before = time.monotonic() + 1.0

    def _spread_news(self) -> None:
        worker = next((worker for worker in self.workers if worker.stage is Stage.READY), None)
        if worker is not None:
            for news in self._settlement.news:
                worker.tell(news)
            self._settlement.news.clear()

    def _look(self) -> float:
        now = time.monotonic()
        fills = [lane.fill_by for lane in self._lanes.values() if lane.fill_by > now]
        return min([now + _LONGEST_SLEEP, *fills, *(self._watch.look(worker, now) for worker in self.workers)])

    def _rest(self, wake_at: float) -> None:
        if self._more or self._settlement or not self.owner.about_to_sleep():
            self.kick()
            return
        due = self.owner.next_due()
        tick = self._ticker.wait() if self.leasing else None
        delay = min(wake_at - time.monotonic(), inf if tick is None else tick)
        if due is not None:
            delay = min(delay, due - time.time())
        self._sleep(max(0.0, delay))

    def _sleep(self, delay: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(delay, self.kick)

    def _sweep(self) -> None:
        if time.monotonic() >= self._sweep_at:
            self._sweep_at = time.monotonic() + _SWEEP
            self.owner.sweep()

    def _failed(self, what: str) -> None:
        if not self._pause:
            logger.error("store %s: %s", self.alias, what)
            self._failing_since = time.monotonic()
        self._pause = min(_LONGEST_PAUSE, self._pause * 2 or _PAUSE)
        self._retry_at = time.monotonic() + self._pause
        self._sleep(self._pause)

    def _well_again(self) -> None:
        if self._pause:
            logger.info("store %s: all is well again, after %.1f s", self.alias, time.monotonic() - self._failing_since)
            self._pause = self._retry_at = 0.0

    def _woken(self) -> None:
        """News from outside; if the store was away, that is a sign of life."""
        self._retry_at = 0.0
        self.kick()

    # -- small things --------------------------------------------------------------------------------------------

    def _heard(self, worker: Handle) -> None:
        self.kick()

    def _kill(self, worker: Handle) -> None:
        if worker.killed_at is None:
            worker.killed_at = time.time()
            self.tally.killed += 1
            worker.kill()
            if not self.failing:
                self._wishes.killed(worker)
