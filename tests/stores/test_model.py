"""Random histories, step by step against the model: the same items in the same order, conserved, unique, and sound."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from django_graceful.items import HEADER, RUN_ONCE, UNIQUE, UNTIL_FINISHED, Outcome, State
from django_graceful.stores.base import Ending, Progress
from tests.redis.kit import RedisKit
from tests.stores.kit import Kit, LevelKit, MemoryKit
from tests.stores.model import LIVE, Model, ModelItem

KEYS = ("a", "b")
OWNERS = ("w1", "w2")
flags = st.sampled_from([0, 0, UNIQUE, UNIQUE, UNIQUE | UNTIL_FINISHED, RUN_ONCE, RUN_ONCE | UNIQUE])
outcomes = st.sampled_from([Outcome.DONE, *Outcome])
which = st.integers(0, 1 << 16)


class History(RuleBasedStateMachine):
    """What may happen to one queue."""

    kit: Kit

    def open_kit(self) -> Kit:
        raise NotImplementedError

    @initialize()
    def start(self) -> None:
        self.kit = self.open_kit()
        self.model = Model()
        self.records: list[bytes] = []
        self.old: list[int] = []
        #: When each run was asked to stop, the steps of the ladder that were noted, and the wishes that were heard of.
        self.asked_at: dict[int, float] = {}
        self.steps: dict[int, dict[str, float]] = {}
        self.heard: set[int] = set()
        self.kit.push()

    @property
    def now(self) -> float:
        return self.kit.clock.now

    def pick(self, number: int, *states: State) -> ModelItem | None:
        found = [item for item in self.model.items.values() if item.state in states]
        return found[number % len(found)] if found else None

    @rule(
        priority=st.sampled_from([0, 0, 0, 5, -5]),
        delay=st.sampled_from([0, 0, 0, 1, 7]),
        flags=flags,
        key=st.sampled_from(KEYS),
    )
    def push(self, priority: int, delay: int, flags: int, key: str) -> None:
        record = self.kit.record(
            len(self.records), priority=priority, delay=delay, flags=flags, key=key if flags else ""
        )
        self.records.append(record)
        self.push_record(record)

    @precondition(lambda self: self.records)
    @rule(number=which)
    def push_again(self, number: int) -> None:
        record = self.records[number % len(self.records)]
        item_id = record[HEADER.size - 16 : HEADER.size].hex()
        if item_id in self.model.items:
            self.push_record(record)

    def push_record(self, record: bytes) -> None:
        fields = HEADER.unpack_from(record)
        key = record[HEADER.size : HEADER.size + fields[5]].decode()
        expected = self.model.push(fields[9].hex(), fields[2], fields[8] / 1e6, self.now, key, fields[1])
        assert [found.hex() for found in self.kit.owner.push("q", [record])] == [expected]

    @rule(limit=st.integers(1, 4), owner=st.sampled_from(OWNERS))
    def lease(self, limit: int, owner: str) -> None:
        self.model.prepare(self.now)
        expected = self.model.lease(limit)
        found = self.kit.lease(limit, owner)
        assert [lease.record[HEADER.size - 16 : HEADER.size].hex() for lease in found] == [item.id for item in expected]
        for lease, item in zip(found, expected, strict=True):
            assert lease.execution > max(self.old, default=0)
            self.model.start(item, lease.execution, owner)
        self.old += [lease.execution for lease in found]

    @rule(number=which, outcome=outcomes, delay=st.sampled_from([0, 3]), failed=st.booleans())
    def end(self, number: int, outcome: Outcome, delay: int, failed: bool) -> None:
        item = self.pick(number, State.RUNNING)
        if item is not None:
            error = {"type": "E"} if failed else None
            self.model.end(item, outcome, now=self.now, delay=delay, failed=failed)
            ending = Ending(item.execution, outcome, delay=delay, error=error)
            assert self.kit.owner.finish(endings=[ending]) == set()

    @rule(numbers=st.lists(which, max_size=3))
    def finish_some(self, numbers: list[int]) -> None:
        items = {item.id: item for number in numbers if (item := self.pick(number, State.RUNNING))}
        for item in items.values():
            self.model.end(item, Outcome.DONE, now=self.now)
        assert self.kit.owner.finish([item.execution for item in items.values()]) == set()

    @rule(numbers=st.lists(which, max_size=3))
    def release(self, numbers: list[int]) -> None:
        items = {item.id: item for number in numbers if (item := self.pick(number, State.RUNNING))}
        for item in items.values():
            self.model.end(item, None, now=self.now)
        assert self.kit.owner.release([item.execution for item in items.values()]) == set()

    @precondition(lambda self: self.old)
    @rule(number=which)
    def end_late(self, number: int) -> None:
        execution = self.old[number % len(self.old)]
        if execution not in self.model.running():
            assert self.kit.owner.finish([execution]) == {execution}
            assert self.kit.owner.release([execution]) == {execution}

    @rule(number=which)
    def cancel(self, number: int) -> None:
        item = self.pick(number, *State)
        if item is not None:
            self.note_wish(item)
            assert self.kit.owner.request_cancel(item.id) == self.model.cancel(item)

    @rule(key=st.sampled_from([None, "", *KEYS]))
    def cancel_all(self, key: str | None) -> None:
        for item in self.model.of(State.RUNNING):
            if key in (None, item.key):
                self.note_wish(item)
        found = self.kit.owner.cancel_all("q", key)
        assert (found.cancelled, found.asked) == self.model.cancel_all(key)

    def note_wish(self, item: ModelItem) -> None:
        if item.state is State.RUNNING and not item.wished:
            self.asked_at[item.execution] = self.now
            self.steps.pop(item.execution, None)

    @rule(number=which, step=st.sampled_from(["stopping", "killed"]))
    def note_step(self, number: int, step: Any) -> None:
        item = self.pick(number, State.RUNNING)
        if item is not None:
            self.kit.owner.note_step(item.execution, step, self.now)
            if item.wished:
                self.steps.setdefault(item.execution, {}).setdefault(step, self.now)

    @rule()
    def hear_wishes(self) -> None:
        heard = [wish.execution for wish in self.kit.owner.wishes()]
        wished = {execution for execution, item in self.model.running().items() if item.wished}
        assert set(heard) <= wished - self.heard
        assert len(set(heard)) == len(heard)
        assert set(heard) | self.heard >= wished
        self.heard |= set(heard)

    @rule(number=which)
    def retry(self, number: int) -> None:
        item = self.pick(number, State.DEAD, State.CANCELLED)
        if item is not None:
            self.model.retry(item, self.now)
            assert self.kit.owner.retry("q", [item.id]) == 1

    @rule(number=which)
    def discard(self, number: int) -> None:
        item = self.pick(number, *LIVE, State.DEAD, State.CANCELLED)
        if item is not None:
            assert self.kit.owner.discard("q", item.state, [item.id]) == 1
            self.model.discard(item)

    @rule(paused=st.sampled_from([False, False, True]))
    def pause(self, paused: bool) -> None:
        self.model.paused = paused
        (self.kit.owner.pause if paused else self.kit.owner.resume)("q")

    @rule(seconds=st.sampled_from([1, 3, 10, -5]))
    def step_the_clock(self, seconds: int) -> None:
        self.kit.clock.now += seconds

    @rule(number=which, started=st.integers(0, 3), seen=st.booleans())
    def crash(self, number: int, started: int, seen: bool) -> None:
        known: dict[str, Progress | None] = dict.fromkeys(OWNERS)
        for owner in OWNERS:
            runs = sorted(item.execution for item in self.model.of(State.RUNNING) if item.owner == owner)
            if runs and seen:
                at = number % (len(runs) + 1)
                steps = [0, *runs, *runs[-1:] * 3]
                known[owner] = Progress(started=steps[at + started], finished=steps[at])
        self.model.crash(known, self.now)
        self.kit.reopen(known.get)

    @invariant()
    def counts_agree_and_are_conserved(self) -> None:
        if not hasattr(self, "kit"):
            return
        counts = self.kit.counts()
        for state in State:
            assert getattr(counts, state.value) == len(self.model.of(state)), state
        for name, number in self.model.totals.items():
            assert getattr(counts, name) == number, name
        live = counts.waiting + counts.scheduled + counts.retrying + counts.running
        assert counts.pushed == counts.done + counts.died + counts.stopped + counts.discarded + live

    @invariant()
    def keys_are_taken_by_those_who_hold_them(self) -> None:
        if hasattr(self, "kit"):
            for key in KEYS:
                assert self.kit.owner.has("q", key) == (key in self.model.holders)

    @invariant()
    def every_item_is_where_it_should_be(self) -> None:
        if hasattr(self, "kit"):
            for item in self.model.items.values():
                found = self.kit.owner.get(item.id)
                assert found is not None
                assert (found.state, found.item.attempt, found.item.crashes) == (item.state, item.attempt, item.crashes)

    @invariant()
    def a_run_shows_who_wished_it_to_stop_and_the_steps_that_were_taken(self) -> None:
        if hasattr(self, "kit"):
            for execution, item in self.model.running().items():
                found = self.kit.owner.get(item.id)
                assert found is not None
                steps = self.steps.get(execution, {})
                expected = {"asked_at": self.asked_at.get(execution), "stopping_at": None, "killed_at": None}
                expected |= {f"{step}_at": at for step, at in steps.items()}
                shown = found.detail.get("cancel")
                assert (shown is not None) == item.wished
                if shown is not None:
                    assert {name: shown[name] for name in expected} == expected

    @invariant()
    def the_store_is_sound(self) -> None:
        if hasattr(self, "kit"):
            assert self.kit.owner.check() == []

    def teardown(self) -> None:
        if hasattr(self, "kit"):
            self.model.paused = False
            self.kit.owner.resume("q")
            self.kit.owner.release(list(self.model.running()))
            self.kit.crash()


def settle(machine: Any, examples: int) -> Any:
    machine.TestCase.settings = settings(
        max_examples=examples,
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    return machine.TestCase


class MemoryHistory(History):
    def open_kit(self) -> Kit:
        return MemoryKit(Path())


class LevelHistory(History):
    def open_kit(self) -> Kit:
        self.directory = tempfile.TemporaryDirectory()
        return LevelKit(Path(self.directory.name))

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "directory"):
            self.directory.cleanup()


class RedisHistory(History):
    def open_kit(self) -> Kit:
        return RedisKit(Path())


TestMemoryHistories = settle(MemoryHistory, 100)
TestLevelHistories = settle(LevelHistory, 25)
TestRedisHistories = settle(RedisHistory, 25)
