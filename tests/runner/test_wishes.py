"""Wishes between store and workers: the master's side, with a store in memory and workers that note what they hear."""

from __future__ import annotations

import time
from collections import deque
from typing import Any, cast

import pytest

from django_graceful.items import Outcome, State, encode_record, new_id
from django_graceful.runner.dispatch import Lane
from django_graceful.runner.handle import Handle, Stage
from django_graceful.runner.settlement import Settlement
from django_graceful.runner.slate import Why
from django_graceful.runner.tally import Tally
from django_graceful.runner.wire import Unit
from django_graceful.runner.wishes import Wishes
from django_graceful.stores.base import Ending, Lease
from django_graceful.stores.engine.kv import MemoryKV
from django_graceful.stores.engine.owner import Engine


class Worker:
    """A worker as the master sees it: it has begun the first ``begun`` of its units."""

    def __init__(self, units: list[Unit], begun: int) -> None:
        self.units = deque(units)
        self.begun = begun
        self.stage = Stage.READY
        self.queue = "q"
        self.stops: dict[int, tuple[Why, float]] = {}
        self.told: list[tuple[Why, int | None]] = []

    def take_back(self) -> list[Lease]:
        back = [lease for unit in list(self.units)[self.begun :] for lease in unit.leases]
        self.units = deque(list(self.units)[: self.begun])
        return back

    def stop(self, why: Why, execution: int | None = None) -> bool:
        self.told.append((why, execution))
        last = self.units[-1]
        if not last.has(execution):
            return False
        self.stops.setdefault(last.last, (why, time.monotonic()))
        return True


class Office:
    """A store with one queue, and a master's view of a worker that was given its first items."""

    def __init__(self, items: int = 4, begun: int = 1, batch: int = 1) -> None:
        self.store = Engine(MemoryKV())
        records = [encode_record(new_id(), b"1", pushed_at=1) for _ in range(items)]
        self.ids = [found.hex() for found in self.store.push("q", records)]
        leases = self.store.lease("q", items, "w")
        self.runs = [lease.execution for lease in leases]
        units = [_unit(leases[at : at + batch]) for at in range(0, items, batch)]
        self.worker = Worker(units, begun)
        self.tally = Tally()
        self.settlement = Settlement({"q": Lane("q", 1, batch)}, self.tally)
        self.wishes = Wishes(self.store, [cast(Handle, self.worker)], self.settlement)

    def state(self, at: int) -> State | None:
        found = self.store.get(self.ids[at])
        return None if found is None else found.state

    def detail(self, at: int) -> dict[str, Any]:
        found = self.store.get(self.ids[at])
        assert found is not None
        return found.detail

    def settle(self) -> list[State | None]:
        self.settlement.write(self.store)
        return [self.state(at) for at in range(len(self.ids))]


def _unit(leases: list[Lease]) -> Unit:
    return Unit(0, "q", len(leases) > 1, leases, None)


W, R, C = State.WAITING, State.RUNNING, State.CANCELLED


def test_a_run_is_stopped_by_its_execution_and_the_rest_given_back() -> None:
    office = Office()
    office.store.request_cancel(office.ids[0], "eve", "why")
    before = time.time()
    office.wishes.grant()
    assert office.worker.told == [(Why.CANCEL, office.runs[0])]
    assert office.settle() == [R, W, W, W]
    assert before - 1 <= office.detail(0)["cancel"]["stopping_at"] <= time.time()
    assert office.tally.returned == 3


def test_one_that_has_not_begun_is_cancelled_and_what_runs_is_not_disturbed() -> None:
    office = Office()
    office.store.request_cancel(office.ids[2], "eve", "why")
    office.wishes.grant()
    assert office.worker.told == []
    assert office.settle() == [R, W, C, W]
    assert (office.detail(2)["by"], office.detail(2)["reason"]) == ("eve", "why")
    assert "stopping_at" not in office.detail(2)
    assert office.tally.returned == 2


def test_one_that_has_ended_meanwhile_is_named_so_that_nobody_else_is_hit() -> None:
    office = Office(begun=2)  # the first is done, though nobody has heard of it, and the second runs
    office.store.request_cancel(office.ids[0])
    office.wishes.grant()
    assert office.worker.told == [(Why.CANCEL, office.runs[0])]
    assert office.worker.stops == {}
    assert office.detail(0)["cancel"]["stopping_at"] is None


def test_the_death_of_a_worker_decides_when_it_came_before_the_wish() -> None:
    office = Office()
    office.worker.stage = Stage.GONE
    office.store.request_cancel(office.ids[0])
    office.wishes.grant()
    assert office.worker.told == []
    assert office.runs[0] in office.settlement.wishes


def test_many_wishes_are_granted_at_once() -> None:
    office = Office(begun=1)
    office.store.cancel_all("q")
    office.wishes.grant()
    assert office.worker.told == [(Why.CANCEL, office.runs[0])]
    assert office.settle() == [R, C, C, C]


def test_all_that_was_named_of_a_batch_has_the_times_and_the_others_have_not() -> None:
    office = Office(items=3, begun=1, batch=3)
    office.store.request_cancel(office.ids[0])
    office.wishes.grant()
    office.store.request_cancel(office.ids[2])
    office.wishes.grant()
    office.wishes.killed(cast(Handle, office.worker))
    for at in (0, 2):
        cancel = office.detail(at)["cancel"]
        assert cancel["stopping_at"] <= cancel["killed_at"]
    assert "cancel" not in office.detail(1)


@pytest.mark.parametrize("outcome", [Outcome.RETRY, Outcome.INTERRUPTED, Outcome.CRASHED, Outcome.CANCELLED])
def test_what_was_asked_to_stop_is_told_of_as_the_store_decides(outcome: Outcome) -> None:
    office = Office(items=1)
    office.store.request_cancel(office.ids[0], "eve", "why")
    office.wishes.grant()
    (lease,) = office.worker.units[0].leases
    assert office.settlement.end("q", lease, Ending(lease.execution, outcome)) is Outcome.CANCELLED
    assert office.settle() == [C]
    assert office.tally.outcomes == {Outcome.CANCELLED: 1}


@pytest.mark.parametrize(("outcome", "state"), [(Outcome.DONE, None), (Outcome.DEAD, State.DEAD)])
def test_who_came_to_an_end_before_stays_there(outcome: Outcome, state: State | None) -> None:
    office = Office(items=1)
    office.store.request_cancel(office.ids[0], "eve", "why")
    office.wishes.grant()
    (lease,) = office.worker.units[0].leases
    ending = Ending(lease.execution, outcome, result=b"1" if outcome is Outcome.DONE else None, result_ttl=60)
    assert office.settlement.end("q", lease, ending) is outcome
    assert office.settle() == [state]
    assert office.tally.outcomes == {outcome: 1}


def test_a_handler_that_gives_up_by_itself_is_told_of_as_that() -> None:
    office = Office(items=1)
    office.store.request_cancel(office.ids[0], "eve", "why")
    office.wishes.grant()
    (lease,) = office.worker.units[0].leases
    office.settlement.end("q", lease, Ending(lease.execution, Outcome.CANCELLED, by="the handler", reason="own"))
    office.settle()
    assert (office.detail(0)["by"], office.detail(0)["reason"]) == ("the handler", "own")


def test_wishes_of_runs_that_are_over_are_not_kept() -> None:
    office = Office(items=3, begun=3)
    office.store.cancel_all("q")
    office.wishes.grant()
    leases = [unit.leases[0] for unit in office.worker.units]
    office.settlement.end("q", leases[0], Ending(leases[0].execution, Outcome.CANCELLED))
    office.settlement.release([leases[1]])
    office.settlement._finish("q", [leases[2]], 0.0)
    assert office.settlement.wishes == {}
    assert office.settle() == [C, C, None]
