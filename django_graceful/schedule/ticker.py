"""The ticks of one store's schedules: decides what is due and pushes it. Runs in a turn of the pump, in the master.

It pushes items and runs none of the site's code: the records are made of the schedule and its queue's options. Several
runners of one store may all try; the store lets one of them have each tick, and the others see that at their next
look. A tick that finds the item of the one before waiting or running is skipped, unless the schedule says ``overlap``.
One that finds the queue full is tried again each second, until there is room or it is missed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from django_graceful.exceptions import StoreFull
from django_graceful.schedule.due import decide, next_tick
from django_graceful.schedule.plans import Plan
from django_graceful.schedule.state import State, decode_state, encode, tick_id
from django_graceful.stores.base import StoreOwner, Tick, Ticked

logger = logging.getLogger("django_graceful.schedule")

#: Seconds until a tick is tried again whose queue is full.
_AGAIN: Final = 1
#: How often a tick is decided anew in one look, because somebody else has decided it meanwhile.
_TRIES: Final = 3


class Ticker:
    """The schedules of one store, as one of its owners sees them."""

    def __init__(self, owner: StoreOwner, plans: Iterable[Plan]) -> None:
        self._owner = owner
        self._plans = list(plans)
        #: What is kept of each schedule, by queue and name; None: not yet known.
        self._kept: dict[tuple[str, str], str] | None = None
        #: The store itself was full the last time, and that has been said.
        self._out_of_room = False
        #: The next look is at this time, and at once when the clock shows one before the last look (store's clock).
        self._look_at = self._looked_at = 0.0

    def turn(self) -> None:
        """Push what is due. Raises what the store raises; then nothing of that tick has happened."""
        if not self._plans:
            return
        now = self._owner.clock()
        if self._looked_at <= now < self._look_at:
            return
        self._look_at = self._looked_at = now  # if the store raises, the next turn looks again
        times = [self._look(plan, int(now)) for plan in self._plans]
        self._look_at = min((time for time in times if time is not None), default=float("inf"))

    def wait(self) -> float | None:
        """Seconds until the next look; None: there is none."""
        if not self._plans or self._look_at == float("inf"):
            return None
        return max(0.0, self._look_at - self._owner.clock())

    def _look(self, plan: Plan, now: int) -> float | None:
        """Decide what is due of this one; when to look again."""
        schedule = plan.schedule
        for _ in range(_TRIES):
            text = self._known(plan)
            state = decode_state(text)
            if state is None:
                said = self._take(plan, text, State(now))
            else:
                decision = decide(schedule.rule, schedule.missed, state.last, now)
                if decision is None:
                    return next_tick(schedule.rule, state.last, now)
                if decision.run is None:
                    said = self._pass_over(plan, text, state, decision.last)
                else:
                    said = self._push(plan, text, state, decision.run, now)
            if said is Ticked.FULL:
                return now + _AGAIN
            if said is Ticked.CHANGED:
                self._kept = None
        return now + _AGAIN

    def _pass_over(self, plan: Plan, text: str, state: State, last: int) -> Ticked:
        name = plan.schedule.name
        if last < state.last:
            logger.warning("schedule %s: its last tick is more than an hour ahead of the clock; starting over", name)
            return self._take(plan, text, replace(state, last=last))
        logger.info("schedule %s: skipped what was missed while no runner ran", name)
        return self._take(plan, text, replace(state, last=last, skipped=state.skipped + 1))

    def _push(self, plan: Plan, text: str, state: State, tick: int, now: int) -> Ticked:
        schedule = plan.schedule
        item_id = tick_id(schedule.queue, schedule.name, tick)
        after = replace(state, last=tick, item=item_id.hex(), pushed_at=now, count=state.count + 1)
        unless = "" if schedule.overlap else state.item
        said = self._take(plan, text, after, plan.record(item_id, now), unless)
        if said is Ticked.TAKEN:
            logger.info("schedule %s: %s %s pushed", schedule.name, schedule.queue, item_id.hex())
        elif said is Ticked.FULL:
            logger.debug("schedule %s: queue %s is full, trying again", schedule.name, schedule.queue)
        elif said is Ticked.BUSY:
            logger.info("schedule %s: skipped, because item %s has not ended", schedule.name, state.item)
            return self._take(plan, text, replace(state, last=tick, skipped=state.skipped + 1))
        return said

    def _take(self, plan: Plan, before: str, after: State, record: bytes | None = None, unless: str = "") -> Ticked:
        name, queue, new = plan.schedule.name, plan.schedule.queue, encode(after)
        try:
            said = self._owner.tick(Tick(queue, name, before, new, record, unless, plan.limit))
        except StoreFull as error:  # nothing can be pushed, but what is there can still be done
            if not self._out_of_room:
                logger.warning("schedule %s: %s; trying again", name, error)
            self._out_of_room = True
            return Ticked.FULL
        self._out_of_room = False
        if said is Ticked.TAKEN and self._kept is not None:
            self._kept[queue, name] = new
        return said

    def _known(self, plan: Plan) -> str:
        if self._kept is None:
            self._kept = {(kept.queue, kept.name): kept.state for kept in self._owner.schedules()}
        return self._kept.get((plan.schedule.queue, plan.schedule.name), "")
