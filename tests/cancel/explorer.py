"""Goes through the orders of what can happen in a world, and judges every end."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django_graceful.items import State
from django_graceful.stores.base import CancelReply
from tests.cancel.world import Plan, World

PLANS = {
    "a cancel of the first of two": Plan(),
    "a cancel of the one behind": Plan(cancels=(1,)),
    "both are cancelled": Plan(cancels=(0, 1)),
    "the worker dies": Plan(deaths=1),
    "everything dies": Plan(crashes=1),
    "a retry, and everything dies": Plan(kinds=("retry", "done"), crashes=1, cancels=()),
    "the first is deaf": Plan(kinds=("deaf", "done"), ticks=1),
    "the first is to be retried": Plan(kinds=("retry", "done")),
    "the first runs out of time": Plan(kinds=("timed", "done"), ticks=2),
    "two workers": Plan(workers=2),
    "the hammer": Plan(hammer=True),
    "the hammer and a death": Plan(kinds=("done", "done"), hammer=True, deaths=1, cancels=()),
}

Action = tuple[Any, ...]


@dataclass
class Explorer:
    """Goes through the orders of a plan."""

    plan: Plan
    path: Path
    seed: int
    most: int
    schedules: int = 0
    steps: int = 0

    def __post_init__(self) -> None:
        self.known: set[int] = set()
        #: Beginnings of schedules that were not followed yet.
        self.open: list[tuple[Action, ...]] = [()]

    def run(self) -> None:
        """All schedules, or as many as may be."""
        dice = random.Random(self.seed)
        while self.open and self.schedules < self.most:
            at = dice.randrange(len(self.open))
            self.open[at], self.open[-1] = self.open[-1], self.open[at]
            self.play(list(self.open.pop()))

    def play(self, schedule: list[Action]) -> None:
        """One schedule, from the beginning: what is given, then whatever is new."""
        self.schedules += 1
        world = World(self.plan, self.path)
        try:
            for action in schedule:
                world.act(action)
            self.follow(world, schedule)
        except Exception as error:
            raise AssertionError(f"{error!r} in the schedule {schedule}: {world.story}") from error
        finally:
            world.close()

    def follow(self, world: World, schedule: list[Action]) -> None:
        while True:
            self.steps += 1
            key = world.key()
            if key in self.known:
                return
            self.known.add(key)
            first, *others = [*world.actions(), None]
            if not world.due():
                self.open += [(*schedule, action) for action in (first, *others) if action is not None]
                world.settle()
                judge(world)
                return
            self.open += [(*schedule, action) for action in others if action is not None]
            assert first is not None
            schedule.append(first)
            world.act(first)


def judge(world: World) -> None:
    """Nothing more happens: is everything as promised?"""
    faults = world.plan.deaths - world.deaths + world.plan.crashes - world.crashes
    hammered = world.plan.hammer and not world.hammer
    assert world.errors == []
    assert world.owner.check() == []
    totals = world.owner.counts()["boxed"]
    waiting = totals.waiting + totals.scheduled + totals.retrying + totals.running
    assert totals.pushed == 2 == totals.done + totals.died + totals.stopped + totals.discarded + waiting
    assert totals.died == totals.running == 0
    assert totals.retried <= world.plan.kinds.count("retry") + world.plan.ticks - world.ticks
    for n, kind in enumerate(world.plan.kinds):
        starts = [execution for what, item, execution in world.story if (what, item) == ("start", n)]
        ends = [execution for what, item, execution in world.story if (what, item) == ("end", n)]
        hits = {execution for what, item, execution in world.story if (what, item) == ("hit", n)}
        reply, asked = world.replies.get(n, (None, 0))
        outcome = world.outcome(n)
        assert len(starts) == len(set(starts)) <= 1 + faults + (kind in ("retry", "timed")) + hammered, (
            "it ran too often"
        )
        assert len(ends) <= 1 + faults + (kind == "timed"), "it was done twice"
        assert hits <= {asked} or hammered or kind == "timed", "a cancel hit another run"
        assert not starts_after("finished", n, world), "it ran again after it was done"
        assert outcome is not None or ends, "it is gone, and was never done"
        again = starts_after("asked", n, world)
        if reply is CancelReply.ASKED:
            assert outcome is State.CANCELLED or (outcome is None and asked in ends), "asked, and neither"
            assert set(again) <= {asked}, "it ran again after it was asked to stop"
            assert not starts_after("granted", n, world), "it began although somebody had asked"
        elif reply is CancelReply.CANCELLED:
            assert outcome is State.CANCELLED
            assert again == [], "it ran after it was cancelled"
        else:
            assert outcome is None or (hammered and outcome is State.WAITING), "nobody cancelled it"
            assert again == []
        check_charges(world, n, faults)


def starts_after(word: str, n: int, world: World) -> list[int]:
    """The executions of the item that began after this was told of it."""
    told = [at for at, (what, item, _) in enumerate(world.story) if (what, item) == (word, n)]
    later = world.story[told[0] :] if told else []
    return [execution for what, item, execution in later if (what, item) == ("start", n)]


def check_charges(world: World, n: int, faults: int) -> None:
    found = world.owner.get(world.ids[n].hex())
    if found is not None:
        assert found.item.attempt <= (world.plan.kinds[n] in ("retry", "timed")), "an attempt was charged"
        assert found.item.crashes <= faults, "a crash was charged"
