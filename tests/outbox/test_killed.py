"""Whoever is killed, at whatever point: what committed is queued once, and nothing else (promise P12)."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper

from django_graceful.outbox import rows
from django_graceful.outbox.batches import Batch
from django_graceful.stores import get_store
from django_graceful.stores.leveldb.store import LevelDBStore
from django_graceful.stores.redis.store import RedisStore
from tests.outbox.world import World, atomic, undone

pytestmark = pytest.mark.process

#: Every step of a push and of a hand-over; a process may die before and after each.
STEPS: list[tuple[Any, str]] = [
    (rows, "insert"),
    (BaseDatabaseWrapper, "commit"),
    (Batch, "hand_over"),
    (rows, "present"),
    (rows, "older"),
    (LevelDBStore, "hand_over"),
    (RedisStore, "hand_over"),
    (rows, "delete"),
]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def steps(met: Callable[[str], object]) -> Iterator[None]:
    """``met`` is called with the name of each point that is passed, in this process."""

    def watched(real: Any, name: str) -> Any:
        def step(*arguments: Any, **options: Any) -> Any:
            met(f"before {name}")
            result = real(*arguments, **options)
            met(f"after {name}")
            return result

        return step

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in STEPS:
            patch.setattr(owner, name, watched(getattr(owner, name), name))
        yield


def dying(at: str, act: Callable[[], object]) -> Callable[[], None]:
    """``act``, by a process that is killed at that point."""

    def run() -> None:
        with steps(lambda name: die() if name == at else None):
            act()

    return run


def push(world: World, deed: str) -> None:
    with atomic():
        world.do(deed)


@pytest.mark.parametrize("at", ["after insert", "before commit"])
def test_killed_before_the_commit_nothing_is_left(world: World, at: str) -> None:
    world.dies(dying(at, lambda: push(world, "a")))
    world.sweep()
    assert world.run() == world.deeds() == {}
    assert world.left() == 0


@pytest.mark.parametrize("at", ["after commit", "before hand_over"])
def test_killed_right_after_the_commit_it_is_handed_over_by_the_sweeper(world: World, at: str) -> None:
    world.dies(dying(at, lambda: push(world, "a")))
    assert (world.left(), world.run()) == (1, {})
    assert world.sweep().handed == 1
    assert world.run() == world.deeds() == {"a": 1}
    assert world.left() == 0


@pytest.mark.parametrize("finished", [False, True])
def test_killed_between_push_and_deletion_it_is_queued_once(world: World, finished: bool) -> None:
    world.dies(dying("before delete", lambda: push(world, "a")))
    assert world.left() == 1
    if finished:
        assert world.run() == {"a": 1}
    world.sweep()
    assert world.left() == 0
    assert world.run() == {"a": 1}


def test_a_sweeper_that_is_killed_between_push_and_deletion_queues_it_once(world: World) -> None:
    world.dies(dying("after commit", lambda: push(world, "a")))
    for _ in range(3):
        world.dies(dying("before delete", world.sweep))
        assert world.left() == 1
        assert world.run() == {"a": 1}
    world.sweep()
    assert (world.left(), world.run()) == (0, {"a": 1})


def test_sweeper_and_producer_that_push_at_the_same_moment_queue_it_once(world: World) -> None:
    def meet(name: str) -> None:
        if name == "before hand_over" and not met:
            met.append(name)
            world.sweep()

    met: list[str] = []
    real = type(get_store()).hand_over

    def hand_over(*arguments: Any) -> None:
        meet("before hand_over")
        world.run()
        real(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(get_store()), "hand_over", hand_over)
        push(world, "a")
    assert met
    assert (world.left(), world.run()) == (0, {"a": 1})


def test_many_producers_and_sweepers_at_once(world: World) -> None:
    def produce(name: int) -> None:
        for n in range(20):
            push(world, f"{name}-{n}")

    def sweep() -> None:
        for _ in range(30):
            world.sweep()

    pids = [world.child(lambda n=n: produce(n)) for n in range(2)]
    pids += [world.child(sweep) for _ in range(2)]
    for pid in pids:
        assert os.waitpid(pid, 0)[1] == 0
    world.sweep()
    assert world.run() == world.deeds()
    assert len(world.deeds()) == 40


class Dice:
    """One story: a random life for a producer and a sweeper, each killed at a random point, or not."""

    def __init__(self, world: World, seed: int) -> None:
        self._world, self._dice = world, random.Random(seed)
        self._n = 0

    def round(self) -> None:
        world, dice = self._world, self._dice
        self._n += 1
        pid = world.child(self._dying(12, lambda: self._produce(random.Random(f"{self._n}"))))
        if dice.random() < 0.5:
            os.waitpid(pid, 0)
            pid = 0
        if dice.random() < 0.6:
            world.dies(self._dying(8, world.sweep))
        if dice.random() < 0.5:
            world.run()
        if pid:
            os.waitpid(pid, 0)
        if dice.random() < 0.3:
            world.run()
            world.owner.forget_handovers(3600)

    def _dying(self, most: int, act: Callable[[], object]) -> Callable[[], None]:
        left = [self._dice.randint(1, most + 4)]

        def met(name: str) -> None:
            left[0] -= 1
            if not left[0]:
                die()

        def run() -> None:
            with steps(met):
                act()

        return run

    def _produce(self, dice: random.Random) -> None:
        for n in range(dice.randint(1, 2)):
            with (undone if dice.random() < 0.15 else atomic)():
                for m in range(dice.randint(1, 3)):
                    with (undone if dice.random() < 0.2 else atomic)():
                        self._world.do(f"{self._n}-{n}-{m}")


def test_whoever_dies_at_a_random_point_exactly_what_committed_is_handled_once(world: World) -> None:
    seed = int(os.environ.get("GRACEFUL_TEST_SEED", "20261122"))
    story = Dice(world, seed)
    for _ in range(220):
        story.round()
    left = world.left()
    assert world.sweep().left == {}
    assert world.left() == 0
    assert world.run() == world.deeds(), f"seed {seed}"
    assert len(world.deeds()) > 150
    assert left or world.owner.counts()["out"].duplicates
    assert world.owner.check() == []
    assert threading.active_count() < 20
