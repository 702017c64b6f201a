"""Schedules in the store: a tick is decided and pushed in one write, by one of all who try."""

from __future__ import annotations

from typing import Any

import pytest

from django_graceful.exceptions import StoreError
from django_graceful.items import UNIQUE, Outcome
from django_graceful.stores.base import Planned, Tick, Ticked
from tests.stores.kit import EngineKit, Kit


@pytest.fixture
def engine(kit: Kit) -> EngineKit:
    assert isinstance(kit, EngineKit)
    return kit


def tick(kit: Kit, before: str, after: str, payload: Any = None, *, push: bool = True, **fields: Any) -> Ticked:
    record = kit.record(payload) if push else None
    return kit.owner.tick(Tick("q", "nightly", before, after, record, **fields))


def state(kit: Kit) -> str:
    [found] = kit.owner.schedules()
    return found.state


def test_a_store_without_schedules_keeps_nothing_of_them(kit: Kit) -> None:
    assert kit.owner.schedules() == []


def test_a_tick_pushes_and_is_remembered(kit: Kit) -> None:
    assert tick(kit, "", "one", "payload") is Ticked.TAKEN
    assert kit.owner.schedules() == [Planned("q", "nightly", "one", "")]
    assert kit.drain() == ["payload"]


def test_of_two_who_know_the_same_one_succeeds_and_one_item_is_pushed(kit: Kit) -> None:
    assert tick(kit, "", "one", "a") is Ticked.TAKEN
    assert tick(kit, "", "one", "b") is Ticked.CHANGED
    assert tick(kit, "one", "two", "c") is Ticked.TAKEN
    assert tick(kit, "one", "three", "d") is Ticked.CHANGED
    assert state(kit) == "two"
    assert kit.drain() == ["a", "c"]


def test_a_tick_that_somebody_else_has_taken_is_not_pushed_again_after_its_item_has_run(kit: Kit) -> None:
    record = kit.record("a")
    assert kit.owner.tick(Tick("q", "nightly", "", "one", record)) is Ticked.TAKEN
    assert kit.drain() == ["a"]
    assert kit.owner.tick(Tick("q", "nightly", "", "one", record)) is Ticked.CHANGED
    assert kit.drain() == []


def test_a_state_may_change_without_an_item(kit: Kit) -> None:
    assert tick(kit, "", "one", push=False) is Ticked.TAKEN
    assert state(kit) == "one"
    assert kit.drain() == []
    assert kit.owner.check() == []


def test_an_item_that_has_not_ended_is_in_the_way(kit: Kit) -> None:
    [former] = kit.push("former")
    assert tick(kit, "", "one", unless=former) is Ticked.BUSY
    lease = kit.take()
    assert tick(kit, "", "one", unless=former) is Ticked.BUSY
    kit.end(lease, Outcome.RETRY, delay=5)
    assert tick(kit, "", "one", unless=former) is Ticked.BUSY
    assert kit.owner.schedules() == []
    kit.clock.now += 5
    assert kit.drain() == ["former"]
    assert tick(kit, "", "one", "next", unless=former) is Ticked.TAKEN
    assert kit.drain() == ["next"]


@pytest.mark.parametrize("outcome", [Outcome.DEAD, Outcome.CANCELLED])
def test_an_item_that_was_set_aside_is_not_in_the_way(kit: Kit, outcome: Outcome) -> None:
    [former] = kit.push("former")
    kit.end(kit.take(), outcome)
    assert tick(kit, "", "one", unless=former) is Ticked.TAKEN


def test_nor_is_one_that_nobody_knows(kit: Kit) -> None:
    assert tick(kit, "", "one", unless="ab" * 16) is Ticked.TAKEN
    assert tick(kit, "one", "two", unless="no id") is Ticked.TAKEN


def test_a_full_queue_takes_no_tick_and_nothing_is_remembered(kit: Kit) -> None:
    kit.push(1, 2)
    assert tick(kit, "", "one", limit=2) is Ticked.FULL
    assert kit.owner.schedules() == []
    assert tick(kit, "", "one", limit=3) is Ticked.TAKEN
    assert kit.counts().waiting == 3


def test_a_unique_item_whose_key_is_taken_is_merged_and_the_tick_is_taken(kit: Kit) -> None:
    kit.push("first", key="k", flags=UNIQUE)
    record = kit.record("second", key="k", flags=UNIQUE)
    assert kit.owner.tick(Tick("q", "nightly", "", "one", record)) is Ticked.TAKEN
    assert kit.drain() == ["first"]


def test_schedules_of_other_names_and_queues_are_apart(kit: Kit) -> None:
    assert kit.owner.tick(Tick("q", "a", "", "1")) is Ticked.TAKEN
    assert kit.owner.tick(Tick("q", "b", "", "2")) is Ticked.TAKEN
    assert kit.owner.tick(Tick("other", "a", "", "3", kit.record("x"))) is Ticked.TAKEN
    kept = {(found.queue, found.name, found.state) for found in kit.owner.schedules()}
    assert kept == {("q", "a", "1"), ("q", "b", "2"), ("other", "a", "3")}
    assert kit.drain("other") == ["x"]


def test_how_the_last_run_ended_is_kept_beside_the_state(kit: Kit) -> None:
    tick(kit, "", "one")
    kit.owner.note_run("q", "nightly", "well")
    kit.owner.note_run("q", "nightly", "bädly")
    assert tick(kit, "one", "two") is Ticked.TAKEN
    assert kit.owner.schedules() == [Planned("q", "nightly", "two", "bädly")]


def test_all_of_it_survives_the_death_of_the_owner(kit: Kit) -> None:
    tick(kit, "", "one", "payload")
    kit.owner.note_run("q", "nightly", "well")
    owner = kit.reopen()
    assert owner.schedules() == [Planned("q", "nightly", "one", "well")]
    assert tick(kit, "", "again") is Ticked.CHANGED
    assert kit.drain() == ["payload"]


def test_check_and_repair_leave_it_alone(kit: Kit) -> None:
    tick(kit, "", "one", "payload")
    kit.owner.note_run("q", "nightly", "well")
    assert kit.owner.check() == []
    assert kit.owner.repair() == []
    assert kit.owner.schedules() == [Planned("q", "nightly", "one", "well")]


def test_the_store_tells_its_time(kit: Kit) -> None:
    kit.clock.now += 7
    assert kit.owner.clock() == pytest.approx(kit.clock.now)


def test_a_write_that_fails_takes_neither_the_tick_nor_the_item(
    kit: Kit, engine: EngineKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(changes: Any, /, *, sync: bool = False) -> None:
        raise StoreError("the disk is full")

    kit.push("known")
    kit.drain()
    monkeypatch.setattr(engine.kv, "write", refuse)
    with pytest.raises(StoreError, match="full"):
        tick(kit, "", "one", "payload")
    monkeypatch.undo()
    assert kit.owner.schedules() == []
    assert kit.drain() == []
    assert tick(kit, "", "one", "payload") is Ticked.TAKEN
    assert kit.drain() == ["payload"]


def test_the_tick_and_the_item_are_one_write(kit: Kit, engine: EngineKit, monkeypatch: pytest.MonkeyPatch) -> None:
    kit.push("known")
    kit.drain()
    writes = []
    write = engine.kv.write

    def note(changes: Any, /, *, sync: bool = False) -> None:
        writes.append(set(changes))
        write(changes, sync=sync)

    monkeypatch.setattr(engine.kv, "write", note)
    for before, after in (("", "one"), ("one", "two")):
        assert tick(kit, before, after, "payload") is Ticked.TAKEN
        [changed] = writes
        assert {b"H", b"R", b"I"} <= {key[:1] for key in changed}
        writes.clear()
