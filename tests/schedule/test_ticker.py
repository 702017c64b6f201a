"""The ticks of a store's schedules, with a clock that the test sets and no processes."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from django_graceful import queue
from django_graceful.conf import get_conf
from django_graceful.exceptions import StoreFull, StoreUnavailable
from django_graceful.items import Outcome, decode_item
from django_graceful.runner.settlement import Settlement
from django_graceful.runner.tally import Tally
from django_graceful.schedule.due import LATE, TRUSTED
from django_graceful.schedule.plans import plan_of
from django_graceful.schedule.running import Chronicle
from django_graceful.schedule.spec import make
from django_graceful.schedule.state import State as Kept
from django_graceful.schedule.state import decode_ran, decode_state, tick_id
from django_graceful.schedule.ticker import Ticker
from django_graceful.stores.base import Ending, Tick, Ticked
from tests.redis.kit import RedisKit
from tests.stores.kit import START, Kit

#: Half a second past a full minute.
MINUTE = START // 60 * 60 + 60


def ticker(kit: Kit, owner: Any = None, *, name: str = "job", **options: Any) -> Ticker:
    work = queue("q")(lambda payload: None)
    rule = {} if "cron" in options else {"every": "1m"}
    schedule = make(name, "q", **(rule | options))
    return Ticker(owner or kit.owner, [plan_of(schedule, work, get_conf())])


def begun(kit: Kit, **options: Any) -> Ticker:
    """A ticker whose schedule was first seen just after ``MINUTE``."""
    found = ticker(kit, **options)
    kit.clock.now = MINUTE + 0.5
    found.turn()
    return found


def kept(kit: Kit) -> Kept:
    [found] = kit.owner.schedules()
    state = decode_state(found.state)
    assert state is not None
    return state


def test_a_new_schedule_waits_for_its_first_tick(kit: Kit) -> None:
    found = begun(kit, missed="once")
    assert kit.drain() == []
    assert kept(kit) == Kept(int(MINUTE))
    assert found.wait() == pytest.approx(59.5)


def test_a_tick_pushes_its_payload_at_its_time_and_once(kit: Kit) -> None:
    found = begun(kit, payload={"n": 1})
    for now in (59.9, 60.0, 60.1, 61.0, 90.0):
        kit.clock.now = MINUTE + now
        found.turn()
    item = tick_id("q", "job", int(MINUTE + 60)).hex()
    assert kept(kit) == Kept(int(MINUTE) + 60, item, int(MINUTE) + 60, count=1)
    lease = kit.take()
    assert decode_item("q", lease.record).id == item
    assert decode_item("q", lease.record).payload == {"n": 1}
    assert kit.lease() == []


def test_a_tick_while_the_former_item_waits_runs_or_is_to_be_retried_is_skipped(kit: Kit) -> None:
    found = begun(kit)
    kit.clock.now = MINUTE + 60
    found.turn()
    kit.clock.now = MINUTE + 120
    found.turn()
    lease = kit.take()
    kit.clock.now = MINUTE + 180
    found.turn()
    kit.end(lease, Outcome.RETRY, delay=70)
    kit.clock.now = MINUTE + 240
    found.turn()
    assert (kept(kit).count, kept(kit).skipped) == (1, 3)
    kit.clock.now = MINUTE + 260
    kit.done(kit.take())
    kit.clock.now = MINUTE + 300
    found.turn()
    assert (kept(kit).count, kept(kit).skipped) == (2, 3)
    assert len(kit.lease(9)) == 1


def test_unless_it_may_overlap(kit: Kit) -> None:
    found = begun(kit, overlap=True)
    for minute in (1, 2, 3):
        kit.clock.now = MINUTE + 60 * minute
        found.turn()
    assert len(kit.lease(9)) == 3


@pytest.mark.parametrize(("missed", "runs"), [("skip", 0), ("once", 1)])
def test_ticks_of_a_time_without_a_runner_are_treated_by_the_policy(kit: Kit, missed: str, runs: int) -> None:
    begun(kit, missed=missed, cron="0 * * * *")
    kit.clock.now = MINUTE // 3600 * 3600 + 7 * 3600 + LATE + 5
    kit.reopen()
    found = ticker(kit, missed=missed, cron="0 * * * *")
    found.turn()
    found.turn()
    assert len(kit.lease(9)) == runs
    assert (kept(kit).count, kept(kit).skipped) == (runs, 1 - runs)
    kit.clock.now = MINUTE // 3600 * 3600 + 8 * 3600
    found.turn()
    assert kept(kit).last == int(kit.clock.now)


def test_a_clock_that_steps_back_repeats_no_tick_and_one_that_was_far_off_starts_over(kit: Kit) -> None:
    found = begun(kit)
    kit.clock.now = MINUTE + 60
    found.turn()
    assert len(kit.drain()) == 1
    kit.clock.now = MINUTE - 30
    for _ in range(90):
        kit.clock.now += 1
        found.turn()
        assert kit.drain() == []
    kit.clock.now = MINUTE + 120
    found.turn()
    assert len(kit.drain()) == 1
    kit.clock.now = MINUTE - 2 * TRUSTED
    found.turn()
    kit.clock.now += 60
    found.turn()
    assert len(kit.drain()) == 1


def test_a_clock_that_steps_forward_runs_the_last_tick_only(kit: Kit) -> None:
    found = begun(kit, overlap=True)
    kit.clock.now = MINUTE + 86_400
    found.turn()
    found.turn()
    assert len(kit.drain()) == 1


def test_a_full_queue_makes_a_tick_wait_for_room(kit: Kit, settings: Any, tmp_path: Path) -> None:
    settings.GRACEFUL = {"STORES": {"default": {"BACKEND": "leveldb", "PATH": tmp_path / "s"}}, "LENGTH": 1}
    found = begun(kit)
    kit.push("in the way")
    kit.clock.now = MINUTE + 60
    found.turn()
    assert found.wait() == pytest.approx(1)
    assert kit.drain() == ["in the way"]
    kit.clock.now += 1
    found.turn()
    assert kit.drain() == [None]
    assert kept(kit).last == MINUTE + 60


def test_a_full_store_keeps_no_tick_from_being_tried_again_and_no_work_from_being_done(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(tick: Tick) -> Ticked:
        raise StoreFull("no room")

    found = begun(kit)
    with monkeypatch.context() as patch:
        patch.setattr(kit.owner, "tick", refuse)
        for second in (60, 61, 62):
            kit.clock.now = MINUTE + second
            found.turn()
    assert caplog.text.count("no room") == 1
    kit.clock.now = MINUTE + 63
    found.turn()
    assert len(kit.drain()) == 1


@pytest.mark.parametrize("happened", [False, True])
def test_whoever_dies_or_loses_the_answer_in_the_middle_of_a_tick_neither_loses_nor_doubles_it(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, *, happened: bool
) -> None:
    found = begun(kit)
    kit.clock.now = MINUTE + 60
    step = kit.owner.tick

    def broken(tick: Tick) -> Ticked:
        if happened:
            step(tick)
        raise StoreUnavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(kit.owner, "tick", broken)
        with pytest.raises(StoreUnavailable):
            found.turn()
    for again in (found, ticker(kit)):  # the same runner, and the next one
        again.turn()
        again.turn()
    assert len(kit.lease(9)) == 1
    assert kept(kit).count == 1
    assert kept(kit).skipped == 0


def test_a_state_that_nobody_can_read_starts_over(kit: Kit) -> None:
    kit.owner.tick(Tick("q", "job", "", '{"last": "x"}'))
    found = begun(kit)
    assert kept(kit) == Kept(int(MINUTE))
    kit.clock.now = MINUTE + 60
    found.turn()
    assert len(kit.drain()) == 1


def test_two_nodes_and_a_thousand_ticks_none_doubled_and_none_missed(tmp_path: Path) -> None:
    kit = RedisKit(tmp_path)
    other = kit.store.own(seat="the other one")
    chance = random.Random(5)
    nodes = [ticker(kit, owner, every="1s", overlap=True) for owner in (kit.owner, other)]
    start = kit.clock.now = float(int(START))
    for node in nodes:
        node.turn()
    ran = []
    for second in range(1, 1001):
        kit.clock.now = start + second + chance.random() / 2
        for node in chance.sample(nodes, chance.randint(1, 2)) * chance.randint(1, 2):
            node.turn()
        for lease in kit.lease(9):
            ran.append(decode_item("q", lease.record).id)
            kit.done(lease)
    assert ran == [tick_id("q", "job", int(start) + second).hex() for second in range(1, 1001)]
    assert kept(kit).count == 1000
    assert kept(kit).skipped == 0
    other.close()
    kit.crash()


def test_how_runs_of_its_items_end_is_noted_in_the_store(kit: Kit) -> None:
    found = begun(kit)
    kit.clock.now = MINUTE + 60
    found.turn()
    kit.push("of no schedule", key="schedule")
    lease, foreign = kit.lease(2)
    chronicle = Chronicle()
    chronicle.note("q", [foreign], Outcome.DONE, 1.0)
    assert not chronicle
    chronicle.note("q", [lease], Outcome.DONE, 2.5)
    assert chronicle
    chronicle.write(kit.owner)
    assert not chronicle
    [planned] = kit.owner.schedules()
    ran = decode_ran(planned.run)
    assert ran is not None
    assert (ran.item, ran.outcome, ran.seconds) == (kept(kit).item, "done", 2.5)


def test_an_end_that_the_store_refused_is_not_noted(kit: Kit) -> None:
    found = begun(kit)
    kit.clock.now = MINUTE + 60
    found.turn()
    lease = kit.take()
    chronicle = Chronicle()
    chronicle.note("q", [lease], Outcome.DONE, None)
    chronicle.forget({lease.execution})
    assert not chronicle


def test_what_a_worker_reports_is_noted_when_the_store_has_taken_it_and_not_when_it_is_refused(kit: Kit) -> None:
    found = begun(kit)
    kit.clock.now = MINUTE + 60
    found.turn()
    lease = kit.take()
    settlement = Settlement({}, Tally())
    for outcome in (Outcome.RETRY, Outcome.DEAD):  # the second one comes too late
        settlement.end("q", lease, Ending(lease.execution, outcome, delay=5), 1.5)
        settlement.write(kit.owner)
        assert not settlement
    [planned] = kit.owner.schedules()
    ran = decode_ran(planned.run)
    assert ran is not None
    assert (ran.outcome, ran.seconds) == ("retry", 1.5)
