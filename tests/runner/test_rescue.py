"""What happens when something is killed: whose items come back, how soon, and what is counted (P1, P2, P5, P8)."""

from __future__ import annotations

import os
import signal
import time

import psutil
import pytest

from django_graceful.items import State
from django_graceful.stores import get_store
from tests.harness import Site, numbers, until
from tests.site import queues

pytestmark = pytest.mark.process


def worker_of(site: Site, n: int) -> int:
    site.said(f"start {n}")
    return next(int(line.split()[2]) for line in site.lines() if line.startswith(f"start {n} "))


def test_a_killed_workers_item_runs_again_at_once_and_its_neighbours_are_not_charged(site: Site) -> None:
    runner = site.runner().serving()
    victim = queues.single.push({"n": 1, "seconds": 3})
    neighbour = queues.single.push({"n": 2, "seconds": 0})
    os.kill(worker_of(site, 1), signal.SIGKILL)
    until(lambda: list(numbers(site.lines(), "start")).count("1") == 2, "the second run", 3.0)
    with get_store().admin() as admin:
        found, other = admin.get(victim), admin.get(neighbour)
    assert found is not None
    assert (found.item.crashes, found.item.attempt) == (1, 0)
    assert other is not None
    assert other.item.crashes == 0
    runner.says("was killed by SIGKILL")
    assert runner.stop() == 0


def test_an_item_that_kills_its_workers_is_dead_after_three_and_the_queue_goes_on(site: Site) -> None:
    runner = site.runner().serving()
    item_id = queues.poison.push(1)
    runner.says("is dead")
    queues.record.push("alive")
    site.said("record alive")
    assert len(list(numbers(site.lines(), "poison"))) == 3
    with get_store().admin() as admin:
        found = admin.get(item_id)
    assert found is not None
    assert found.state is State.DEAD
    assert found.item.crashes == 3
    assert runner.stop() == 0


def test_work_that_must_not_run_twice_is_set_aside_after_a_crash(site: Site) -> None:
    runner = site.runner().serving()
    item_id = queues.once.push({"n": 1, "seconds": 60})
    site.said("once 1")
    for process in runner.family()[2:]:
        process.kill()
    runner.says("is dead")
    with get_store().admin() as admin:
        found = admin.get(item_id)
    assert found is not None
    assert found.state is State.DEAD
    assert runner.stop() == 0
    assert site.lines() == ["once 1"]


def test_a_killed_masters_workers_end_and_its_item_runs_again_after_the_restart(site: Site) -> None:
    runner = site.runner().serving()
    queues.single.push({"n": 1, "seconds": 3})
    queues.single.push({"n": 2, "seconds": 0})
    worker_of(site, 1)
    family = runner.family()
    runner.process.kill()
    assert not psutil.wait_procs(family, timeout=5)[1]
    begin = time.monotonic()
    site.runner().serving()
    until(lambda: list(numbers(site.lines(), "start")).count("1") == 2, "the second run")
    assert time.monotonic() - begin < 5
    site.said("end 2")
    assert list(numbers(site.lines(), "start")) == ["1", "1", "2"]


def test_a_runner_that_starts_at_once_after_a_kill_does_not_overtake_the_dying_workers(site: Site) -> None:
    runner = site.runner().serving()
    queues.single.push({"n": 1, "seconds": 0.4})
    worker_of(site, 1)
    fork_server = psutil.Process(runner.pid).children()[0]
    fork_server.suspend()  # it can not clean up: only the new owner can
    runner.process.kill()
    runner.process.wait()
    try:
        site.runner().serving()
        until(lambda: len(site.lines()) >= 2, "another word")
    finally:
        fork_server.resume()
    # either the old worker finished and the new runner knew it, or it was ended before the second run began
    words = [line.split()[0] for line in site.lines()[:2]]
    assert words == ["start", "end"] or until(lambda: site.lines()[-1] == "end 1" and len(site.lines()) == 3, "its end")


def test_the_fork_servers_death_costs_no_item_and_the_runner_goes_on(site: Site) -> None:
    runner = site.runner().serving()
    queues.single.push({"n": 1, "seconds": 6})
    worker_of(site, 1)
    psutil.Process(runner.pid).children()[0].kill()
    runner.says("starting again in place")
    until(lambda: list(numbers(site.lines(), "start")).count("1") == 2, "the second run")
    queues.record.push("after")
    site.said("record after")
    assert runner.stop(signal.SIGQUIT) == 0


def test_everything_killed_at_once_loses_nothing_and_runs_twice_only_what_ran(site: Site) -> None:
    total = 3000
    queues.wide.push_many(range(total))
    runner = site.runner().serving()
    until(lambda: len(site.lines()) > total // 4, "a quarter")
    for process in runner.family():
        process.kill()
    runner.process.wait()
    assert site.runner("--drain").end() == 0
    counts: dict[str, int] = {}
    for n in numbers(site.lines(), "wide"):
        counts[n] = counts.get(n, 0) + 1
    assert len(counts) == total
    assert sum(count - 1 for count in counts.values()) <= 4


def test_a_stopped_master_holds_no_push_up(site: Site) -> None:
    runner = site.runner().serving()
    psutil.Process(runner.pid).suspend()
    begin = time.monotonic()
    for n in range(100):
        queues.record.push(n)
    assert time.monotonic() - begin < 5
    psutil.Process(runner.pid).resume()
    site.said("record 99")
    assert runner.stop() == 0
