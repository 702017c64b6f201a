"""A step that raised changed nothing: not on disk, not in memory. And what producers in other processes hand over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from django_graceful.exceptions import StoreFull
from django_graceful.items import UNIQUE, Outcome, State, encode_record, new_id
from django_graceful.stores.base import Ending
from django_graceful.stores.engine import keys
from django_graceful.stores.engine.kv import Changes, MemoryKV
from django_graceful.stores.engine.owner import Engine


class FailingKV(MemoryKV):
    """Refuses to write while ``full``."""

    full = False
    syncs = 0

    def write(self, changes: Changes, /, *, sync: bool = False) -> None:
        if self.full:
            raise StoreFull("no room")
        self.syncs += sync
        super().write(changes, sync=sync)


def record(number: int, **fields: Any) -> bytes:
    return encode_record(new_id(), b"%d" % number, pushed_at=1, **fields)


@dataclass
class Scene:
    """A store with something of everything."""

    kv: FailingKV = field(default_factory=FailingKV)
    now: float = 1000.0

    def __post_init__(self) -> None:
        self.engine = Engine(self.kv, clock=lambda: self.now)
        self.engine.push("q", [record(number, key=str(number), flags=UNIQUE) for number in range(8)])
        self.engine.push("q", [record(9, not_before=1_005_000_000)])
        self.leases = [lease.execution for lease in self.engine.lease("q", 4, "w")]
        self.engine.finish([], [Ending(self.leases.pop(), Outcome.DEAD)])
        self.waiting = self.engine.page("q", State.WAITING).items[0].item.id
        self.running = self.engine.page("q", State.RUNNING).items[0].item.id

    def look(self) -> Any:
        pages = [self.engine.page("q", state) for state in State]
        has = [self.engine.has("q", str(number)) for number in range(9)]
        return self.engine.counts(), pages, has, self.engine.ready(), self.engine.next_due(), self.engine.check()

    def become_due(self) -> None:
        self.now += 10
        self.engine.prepare()

    def sweep(self) -> None:
        self.engine.request_cancel(self.waiting)
        self.now += 8 * 86400
        self.engine.sweep()


STEPS: dict[str, Callable[[Scene], Any]] = {
    "push": lambda scene: scene.engine.push("q", [record(20, key="8", flags=UNIQUE), record(21)]),
    "push to a new queue": lambda scene: scene.engine.push("new", [record(22)]),
    "lease": lambda scene: scene.engine.lease("q", 2, "w"),
    "finish": lambda scene: scene.engine.finish(scene.leases),
    "retry later": lambda scene: scene.engine.finish([], [Ending(scene.leases[0], Outcome.RETRY, delay=5)]),
    "interrupted": lambda scene: scene.engine.finish([], [Ending(scene.leases[0], Outcome.INTERRUPTED)]),
    "release": lambda scene: scene.engine.release(scene.leases),
    "retry": lambda scene: scene.engine.retry("q"),
    "discard": lambda scene: scene.engine.discard("q", State.WAITING),
    "cancel": lambda scene: scene.engine.request_cancel(scene.waiting),
    "wish": lambda scene: scene.engine.request_cancel(scene.running),
    "cancel all": lambda scene: scene.engine.cancel_all("q"),
    "pause": lambda scene: scene.engine.pause("q"),
    "become due": Scene.become_due,
    "sweep": Scene.sweep,
}


@pytest.mark.parametrize("name", STEPS)
def test_a_step_that_raised_changed_nothing(name: str) -> None:
    scene = Scene()
    before = scene.look()
    scene.kv.full = True
    with pytest.raises(StoreFull):
        STEPS[name](scene)
    scene.kv.full, scene.now = False, 1000.0
    assert scene.look() == before
    STEPS[name](scene)
    scene.engine.finish(scene.leases)
    scene.now += 1000
    scene.engine.resume("q")
    scene.engine.prepare()
    while leases := scene.engine.lease("q", 3, "w"):
        assert scene.engine.finish([lease.execution for lease in leases]) == set()
    counts = scene.engine.counts()["q"]
    assert (counts.waiting, counts.scheduled) == (0, 0)
    assert scene.engine.check() == []


def test_every_step_is_synced_when_the_store_is_so_asked() -> None:
    kv = FailingKV()
    engine = Engine(kv, sync=True)
    for step in (
        lambda: engine.push("q", [record(1)]),
        lambda: engine.lease("q", 1, "w"),
        lambda: engine.request_cancel(engine.page("q", State.RUNNING).items[0].item.id),
        lambda: engine.push("q", [record(2)]),
        lambda: engine.cancel_all("q"),
        lambda: engine.pause("q"),
        lambda: engine.release([engine.page("q", State.RUNNING).items[0].detail["execution"]]),
        lambda: engine.retry("q", [engine.page("q", State.CANCELLED).items[0].item.id]),
    ):
        before = kv.syncs
        step()
        assert kv.syncs > before


def test_without_that_only_closing_is_synced() -> None:
    kv = FailingKV()
    engine = Engine(kv)
    engine.push("q", [record(1)])
    assert kv.syncs == 0
    engine.close(sync=False)
    assert kv.syncs == 0
    engine.close()
    assert kv.syncs == 1


@dataclass
class Taken:
    entries: list[tuple[str, bytes]]
    positions: dict[bytes, int]
    more: bool
    damage: list[str]


@dataclass
class Inbox:
    """An inbox of one segment, in memory."""

    waiting: list[tuple[str, bytes]] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)
    gone: list[bytes] = field(default_factory=list)
    offset: int = 0
    reached: int = 0
    opened: dict[bytes, int] = field(default_factory=dict)

    def open(self, offsets: Mapping[bytes, int], /) -> None:
        self.opened = dict(offsets)
        self.offset = offsets.get(b"segment", 0)

    def read(self, limit: int, /) -> Taken:
        self.reached = min(len(self.waiting), self.offset + limit)
        damage, self.damage = self.damage, []
        entries = self.waiting[self.offset : self.reached]
        return Taken(entries, {b"segment": self.reached}, self.reached < len(self.waiting), damage)

    def advance(self) -> list[bytes]:
        self.offset = self.reached
        gone, self.gone = self.gone, []
        return gone

    def pending(self) -> bool:
        return self.offset < len(self.waiting)


@dataclass
class Board:
    sleeping: bool = False
    depths: dict[str, int] = field(default_factory=dict)

    def set_depth(self, queue: str, waiting: int, /) -> None:
        self.depths[queue] = waiting


def test_the_inbox_is_taken_in_exactly_once_across_crashes() -> None:
    kv, inbox = FailingKV(), Inbox()
    inbox.waiting = [(f"q{number % 3}", record(number)) for number in range(10)]
    engine = Engine(kv, intake=inbox)
    inbox.waiting += [("q0", record(10))]
    kv.full = True
    with pytest.raises(StoreFull):
        engine.prepare()
    kv.full = False
    again = Inbox(inbox.waiting)
    engine = Engine(kv, intake=again)
    assert again.opened == {b"segment": 10}
    assert sum(counts.pushed for counts in engine.counts().values()) == 11
    assert sum(counts.duplicates for counts in engine.counts().values()) == 0
    assert engine.check() == []


def test_prepare_takes_in_at_most_its_limit_and_says_when_there_is_more() -> None:
    inbox = Inbox()
    engine = Engine(MemoryKV(), intake=inbox)
    inbox.waiting = [("q", record(number)) for number in range(5)]
    assert engine.prepare(2)
    assert engine.ready() == {"q": 2}
    assert engine.prepare(2)
    assert not engine.prepare(2)
    assert engine.ready() == {"q": 5}


def test_whoever_asks_sees_what_they_pushed() -> None:
    inbox = Inbox()
    engine = Engine(MemoryKV(), intake=inbox)
    inbox.waiting.append(("q", record(1)))
    assert engine.counts()["q"].waiting == 1
    inbox.waiting.append(("q", record(2, key="k", flags=UNIQUE)))
    assert engine.has("q", "k")
    inbox.waiting.append(("q", record(3)))
    assert engine.discard("q", State.WAITING) == 3


def test_unreadable_records_of_the_inbox_stop_nothing_and_damage_is_reported() -> None:
    inbox = Inbox([("q", b"nonsense"), ("q", record(1))], ["a torn record"])
    engine = Engine(MemoryKV(), intake=inbox)
    assert engine.notices == ["a torn record"]
    assert (engine.counts()["q"].waiting, engine.counts()["q"].dead) == (1, 1)


def test_offsets_of_segments_that_are_gone_are_forgotten() -> None:
    kv, inbox = MemoryKV(), Inbox([("q", record(1))])
    engine = Engine(kv, intake=inbox)
    assert kv.get(keys.SEGMENT + b"segment") == keys.u64(1)
    inbox.gone = [b"segment"]
    engine.prepare()
    assert kv.get(keys.SEGMENT + b"segment") is None


def test_an_idle_owner_writes_nothing() -> None:
    kv = FailingKV()
    engine = Engine(kv, intake=Inbox([("q", record(1))]))
    kv.full = True
    assert not engine.prepare()
    assert engine.counts()["q"].waiting == 1
    engine.sweep()
    assert engine.finish() == set()
    assert engine.release([]) == set()


def test_the_board_shows_what_waits_in_any_way_and_not_what_runs() -> None:
    board, kv = Board(), MemoryKV()
    engine = Engine(kv, board=board, clock=lambda: 1000.0)
    engine.push("q", [record(1), record(2), record(3, not_before=2_000_000_000)])
    assert board.depths == {"q": 3}
    (lease,) = engine.lease("q", 1, "w")
    assert board.depths == {"q": 2}
    engine.finish([], [Ending(lease.execution, Outcome.RETRY, delay=9)])
    assert board.depths == {"q": 3}
    again = Board()
    Engine(kv, board=again)
    assert again.depths == {"q": 3}


def test_an_owner_sleeps_only_when_nothing_has_come() -> None:
    board, inbox = Board(), Inbox()
    engine = Engine(MemoryKV(), board=board, intake=inbox)
    assert engine.about_to_sleep()
    assert board.sleeping
    engine.prepare()
    assert not board.sleeping
    inbox.waiting.append(("q", record(1)))
    assert not engine.about_to_sleep()
    assert not board.sleeping
    assert engine.wake_socket() is None
