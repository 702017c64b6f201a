"""Clocks that jump, and processes that stand still for longer than every timeout: no item is lost, doubled or wrongly
charged (promises P1, P2 and P8).
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from django_graceful.items import State
from django_graceful.stores import get_store
from tests.harness import Runner, Site, numbers, until
from tests.site import queues

pytestmark = pytest.mark.process

DAY = 86_400
#: Longer than every timeout below.
STILL = 3.0
QUICK = {"HAMMER_AFTER": 1, "KILL_AFTER": 0.5, "CANCEL_GRACE": 0.5, "WORKER_IDLE": 1, "PUSH_TIMEOUT": 1}


class Clock:
    """The wall clock of the runners of a site."""

    def __init__(self, site: Site, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        site.env["GRACEFUL_TEST_CLOCK"] = str(path)
        site.env["PYTHONPATH"] = f"{Path(__file__).with_name('skew')}:{site.env['PYTHONPATH']}"
        self.jump(0)

    def jump(self, seconds: int) -> None:
        """Be off by so many seconds from now on."""
        os.pwrite(self._fd, f"{seconds:<31d}\n".encode(), 0)

    def close(self) -> None:
        os.close(self._fd)


@pytest.fixture
def clock(site: Site, tmp_path: Path) -> Iterator[Clock]:
    found = Clock(site, tmp_path / "clock")
    yield found
    found.close()


def drained() -> bool:
    with get_store().admin() as admin:
        counts = admin.counts().values()
    return not any(c.waiting + c.scheduled + c.retrying + c.running for c in counts)


def totals(name: str) -> tuple[int, int, int, int]:
    """Done, run again after a failure, dead, cancelled."""
    with get_store().admin() as admin:
        found = admin.counts()[name]
        assert admin.check() == []
    return found.done, found.retried, found.died, found.stopped


def test_wall_clock_jumps_lose_double_and_delay_nothing(site: Site, clock: Clock) -> None:
    runner = site.runner().serving()
    pushed = 0
    for round_, offset in enumerate([DAY, 0, -DAY, 0, DAY, -DAY, DAY, 0, -DAY, 0] * 3):
        clock.jump(offset)
        queues.wide.push_many(range(pushed, pushed + 20))
        queues.wide.push_many(range(pushed + 20, pushed + 25), delay=0.3)
        pushed += 25
        queues.flaky.push({"n": round_, "fails": round_ % 3})
        queues.slow.push({"n": round_, "seconds": 0.15})
        time.sleep(0.1)
    clock.jump(0)
    # Retries that failed under a clock a day ahead would wait for that day: they wait for their time, and no longer.
    with get_store().admin() as admin:
        ahead = admin.counts()["flaky"].retrying
    if ahead:
        clock.jump(DAY)
    until(drained, "the queues to drain")
    assert Counter(numbers(site.lines(), "wide")) == Counter(map(str, range(pushed)))
    assert totals("wide") == (pushed, 0, 0, 0)
    assert totals("flaky") == (30, sum(n % 3 for n in range(30)), 0, 0)
    assert Counter(numbers(site.lines(), "end")) == Counter(map(str, range(30)))
    assert not [line for line in runner.log if "fault" in line or "Traceback" in line], runner.log
    assert runner.stop() == 0


def test_a_delayed_item_waits_no_longer_than_the_jump_and_its_delay(site: Site, clock: Clock) -> None:
    runner = site.runner().serving()
    queues.record.push("ahead", delay=60)
    queues.record.push("behind", delay=0.5)
    clock.jump(-DAY)
    queues.record.push("now")
    site.said("record now")
    time.sleep(1)
    assert "record behind" not in site.lines()
    clock.jump(0)
    begin = time.monotonic()
    site.said("record behind")
    assert time.monotonic() - begin < 5
    assert "record ahead" not in site.lines()
    clock.jump(DAY)
    begin = time.monotonic()
    site.said("record ahead")
    assert time.monotonic() - begin < 5
    assert site.lines() == ["record now", "record behind", "record ahead"]
    assert runner.stop() == 0


@pytest.mark.parametrize("offset", [DAY, -DAY], ids=["forth", "back"])
def test_a_job_is_neither_timed_out_nor_spared_by_a_jump(site: Site, clock: Clock, offset: int) -> None:
    runner = site.runner().serving()
    queues.limited.push({"n": 1, "seconds": 0.15})
    site.said("start 1")
    clock.jump(offset)
    site.said("end 1")
    item_id = queues.limited.push({"n": 2, "seconds": 60})
    site.said("start 2")
    clock.jump(0)
    with get_store().admin() as admin:
        until(lambda: (found := admin.get(item_id)) is not None and found.state in (State.DEAD, State.RETRYING), "it")
    assert totals("limited")[0] == 1
    assert list(numbers(site.lines(), "end")) == ["1"]
    assert runner.stop() == 0


def test_a_jump_over_a_restart_neither_loses_nor_doubles(site: Site, clock: Clock) -> None:
    runner = site.runner().serving()
    queues.slow.push_many({"n": n, "seconds": 0.05} for n in range(60))
    for offset in (DAY, -DAY, 0):
        until(lambda: len(site.lines()) > 10, "some of them")
        clock.jump(offset)
        assert runner.stop() == 0
        runner = site.runner().serving()
    until(drained, "the queue to drain")
    assert Counter(numbers(site.lines(), "start")) == Counter(map(str, range(60)))
    assert runner.stop() == 0


@contextmanager
def standing_still(process: psutil.Process) -> Iterator[None]:
    """It is stopped for longer than every timeout."""
    process.suspend()
    try:
        yield
        time.sleep(STILL)
    finally:
        with suppress(psutil.NoSuchProcess):  # replaced meanwhile
            process.resume()


def members(runner: Runner) -> dict[str, psutil.Process]:
    """Who of the runner is who; the worker is the first that works."""
    master = psutil.Process(runner.pid)
    server = master.children()[0]
    return {"master": master, "fork server": server, "worker": server.children()[0]}


@pytest.mark.parametrize("whom", ["master", "worker", "fork server"])
def test_who_stands_still_for_longer_than_every_timeout_goes_on_as_if_nothing_were(site: Site, whom: str) -> None:
    runner = site.runner(env={"GRACEFUL_TEST_EXTRA": json.dumps(QUICK)}).serving()
    queues.slow.push_many({"n": n, "seconds": 0.3} for n in range(2))
    queues.wide.push_many(range(300))
    site.said("start 1")
    with standing_still(members(runner)[whom]):
        queues.slow.push_many({"n": n, "seconds": 0.01} for n in range(2, 10))
        queues.wide.push_many(range(300, 400))
    until(drained, "the queues to drain")
    assert Counter(numbers(site.lines(), "end")) == Counter(map(str, range(10)))
    assert Counter(numbers(site.lines(), "start")) == Counter(map(str, range(10)))
    assert Counter(numbers(site.lines(), "wide")) == Counter(map(str, range(400)))
    assert totals("slow") == (10, 0, 0, 0)
    assert not [line for line in runner.log if "crashed" in line or "lost its worker" in line], runner.log
    assert runner.stop() == 0


def test_a_job_that_ended_in_time_is_not_timed_out_by_a_master_that_stood_still(site: Site) -> None:
    runner = site.runner(env={"GRACEFUL_TEST_EXTRA": json.dumps(QUICK)}).serving()
    queues.limited.push_many({"n": n, "seconds": 0.1} for n in range(3))
    site.said("start 0")
    with standing_still(members(runner)["master"]):
        pass
    until(drained, "the queue to drain")
    assert list(numbers(site.lines(), "start")) == ["0", "1", "2"]
    assert totals("limited") == (3, 0, 0, 0)
    assert runner.stop() == 0


def test_a_worker_that_stands_still_beyond_its_jobs_timeout_is_replaced_and_the_attempt_counts(site: Site) -> None:
    runner = site.runner(env={"GRACEFUL_TEST_EXTRA": json.dumps(QUICK)}).serving()
    queues.limited.push_many([{"n": 1, "seconds": 0.1}, {"n": 2, "seconds": 0}])
    site.said("start 1")
    with standing_still(members(runner)["worker"]):
        site.said("end 2")
    until(drained, "the queue to drain")
    assert list(numbers(site.lines(), "start")).count("1") == 2
    assert Counter(numbers(site.lines(), "end")) == Counter(["1", "2"])
    assert totals("limited") == (2, 1, 0, 0)
    assert runner.stop() == 0


def test_a_worker_that_stands_still_holds_no_shutdown_up_and_its_item_is_not_charged(site: Site) -> None:
    runner = site.runner("--strict-exit", env={"GRACEFUL_TEST_EXTRA": json.dumps(QUICK)}).serving()
    item_id = queues.slow.push({"n": 1, "seconds": 0.2})
    site.said("start 1")
    members(runner)["worker"].suspend()
    begin = time.monotonic()
    assert runner.stop(signal.SIGTERM) == 4
    assert time.monotonic() - begin < 1 + 0.5 + 5
    with get_store().admin(alone=True) as admin:
        found = admin.get(item_id)
    assert found is not None
    assert (found.state, found.item.attempt, found.item.crashes) == (State.WAITING, 0, 0)
