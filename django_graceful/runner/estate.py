"""All stores of one runner, each with its pump and its control socket: opened together, closed together."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from django_graceful.conf import Conf
from django_graceful.exceptions import StoreError
from django_graceful.items import State
from django_graceful.queues import find_queue
from django_graceful.runner.handing import NO_HANDLER, Crew
from django_graceful.runner.handle import Handle, Stage
from django_graceful.runner.premises import Premises, open_premises
from django_graceful.runner.pump import Pump
from django_graceful.runner.sweeping import Sweeping
from django_graceful.runner.tally import Tally, item_id
from django_graceful.schedule.running import plans_for
from django_graceful.stores.base import StoreOwner
from django_graceful.stores.leveldb.server import ControlServer

logger = logging.getLogger("django_graceful.runner")

#: Seconds after which workers that do not end are named in the log, and between two such lines.
_SAY_AFTER, _SAY_EVERY = 1.0, 5.0
#: Seconds for a killed worker to be gone.
_DEATH = 0.5


class Estate:
    """The stores that this runner owns. Opening brings back what a former runner's dead workers had; raises
    ``StoreError``. ``ticks``: the schedules of its queues begin work, too.
    """

    def __init__(self, conf: Conf, queues: Sequence[str], exclude: Sequence[str], *, ticks: bool = True) -> None:
        self._queues, self._exclude = frozenset(queues), frozenset(exclude)
        self._plans = plans_for(conf, self.serves) if ticks else {}
        self._premises: list[Premises] = []
        self._servers: list[ControlServer] = []
        self.pumps: list[Pump] = []
        self._sweeping: Sweeping | None = None
        #: What the stores hold at the end, in words.
        self.left = ""
        try:
            for alias, store in conf.stores.items():
                if store.backend == "memory":
                    logger.info("store %s lives in the memory of each web process; nothing of it is seen here", alias)
                else:
                    self._premises.append(open_premises(store, conf.max_crashes))
        except BaseException:
            for premises in self._premises:
                premises.owner.close()
                premises.leave(clean=True)
            raise

    def serves(self, name: str) -> bool:
        """Whether this runner handles that queue: one of those named (all, when none is), and not excluded."""
        return (not self._queues or name in self._queues) and name not in self._exclude

    async def open(self, crew: Crew, calls: Mapping[str, Callable[..., Any]]) -> None:
        """Start the pumps and the control sockets in the running loop."""
        for premises in self._premises:
            conf, owner = premises.conf, premises.owner
            pump = Pump(conf.alias, owner, premises.slates, crew, self._plans.get(conf.alias, ()))
            server = ControlServer(premises.directory, owner, conf.mode, calls, pump.kick)
            await server.start()
            pump.on_caught_up = partial(_caught_up, premises)
            self.pumps.append(pump)
            self._servers.append(server)
            pump.kick()
            await premises.appear(calls)
        if self._premises:
            kick = partial(self.each, lambda pump: pump.kick())
            self._sweeping = Sweeping(crew.nursery, self._premises[0].slates.path, kick)

    async def close(self) -> None:
        """Let the sweeper end, close the control sockets, write everything down with sync, close the stores."""
        if self._sweeping is not None:
            self._sweeping.close()
        for premises, server in zip(self._premises, self._servers, strict=True):
            await premises.vanish()
            await server.close()
        held = [_holdings(pump) for pump in self.pumps]
        self.left = "; ".join(filter(None, held)) or "nothing is left in the queues"
        for premises, pump in zip(self._premises, self.pumps, strict=True):
            pump.close()
            premises.leave(clean=not pump.busy)

    def each(self, act: Callable[[Pump], None]) -> None:
        """Do this with every pump."""
        for pump in self.pumps:
            act(pump)

    @property
    def busy(self) -> bool:
        """Whether anything runs or is not written down."""
        return any(pump.busy for pump in self.pumps)

    @property
    def empty(self) -> bool:
        """Whether nothing is left that could run now, also in an outbox."""
        swept = self._sweeping is None or self._sweeping.caught_up
        return swept and all(pump.empty for pump in self.pumps)

    @property
    def workers(self) -> list[Handle]:
        """The workers that live."""
        return [worker for pump in self.pumps for worker in pump.workers]

    def tally(self) -> Tally:
        """The tallies of all pumps together."""
        return sum((pump.tally for pump in self.pumps), Tally())

    def running(self) -> list[dict[str, Any]]:
        """What runs now, an entry for each item or batch."""
        found = []
        for worker in self.workers:
            for run in worker.runs():
                unit = run.unit
                entry = {"queue": unit.queue, "item": item_id(unit.leases[0]), "items": len(unit.leases)}
                found.append(entry | {"execution": unit.last, "pid": worker.pid, "seconds": round(run.seconds, 3)})
        return found

    def named(self) -> list[str]:
        """What runs, in words; when nothing does, the workers that have not ended."""
        runs = [f"{run['queue']} {run['item']} (pid {run['pid']}, {run['seconds']:.0f} s)" for run in self.running()]
        return runs or [f"the last hooks of the worker with pid {worker.pid}" for worker in self.workers]

    def in_short(self) -> str:
        """How much runs and how much waits, in words."""
        waiting = sum(sum(pump.waiting().values()) for pump in self.pumps)
        return f"{len(self.running())} running, {waiting} waiting"

    async def dismiss(self, patience: float, hurried: Callable[[], bool]) -> None:
        """Let the workers end, with their ``at_terminate`` hooks, for at most ``patience`` seconds; then kill them."""
        self.each(lambda pump: pump.dismiss())
        say_at = time.monotonic() + _SAY_AFTER
        end = time.monotonic() + patience
        while self.workers and time.monotonic() < end and not hurried():
            await asyncio.sleep(0.005)
            if time.monotonic() > say_at:
                logger.info("waiting for %s", ", ".join(self.named()))
                say_at += _SAY_EVERY
        for worker in self.workers:
            logger.warning("the worker with pid %d does not come to its end; it is killed", worker.pid)
            worker.kill()
        end = time.monotonic() + _DEATH
        while self.workers and time.monotonic() < end:
            await asyncio.sleep(0.005)

    def describe_workers(self) -> dict[str, int]:
        """How many workers there are of each kind."""
        workers = self.workers
        busy = sum(bool(worker.units) for worker in workers)
        starting = sum(worker.stage is Stage.STARTING for worker in workers)
        return {"busy": busy, "idle": len(workers) - busy - starting, "starting": starting}


def _caught_up(premises: Premises) -> None:
    premises.settled()
    _unset_aside(premises.conf.alias, premises.owner)


def _unset_aside(alias: str, owner: StoreOwner) -> None:
    """Items that are dead only because nobody declared their queue then go back, now that somebody does."""
    counts = owner.counts()
    for name in [name for name, numbers in counts.items() if numbers.dead and find_queue(name) is not None]:
        after = None
        ids: list[str] = []
        while True:
            page = owner.page(name, State.DEAD, after, 1000)
            ids += [f.item.id for f in page.items if str(f.detail.get("reason", "")).startswith(NO_HANDLER)]
            after = page.after
            if after is None:
                break
        if ids:
            owner.retry(name, ids)
            logger.info(
                "store %s: %d items of queue %s, set aside while nobody declared it, wait again", alias, len(ids), name
            )


def _holdings(pump: Pump) -> str:
    parts = []
    found = None
    with suppress(StoreError):
        found = None if pump.failing else pump.owner.counts()
    if found is None:
        return f"what is left in store {pump.alias} is not known"
    for name, counts in found.items():
        numbers = {
            "waiting": counts.waiting,
            "scheduled": counts.scheduled,
            "to be retried": counts.retrying,
            "dead": counts.dead,
        }
        words = [f"{number} {word}" for word, number in numbers.items() if number]
        if words:
            parts.append(f"{name}: {', '.join(words)}")
    return "left in the store: " + "; ".join(parts) if parts else ""
