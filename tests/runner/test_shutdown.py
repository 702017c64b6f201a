"""How a runner ends: drain, hammer, kill; what becomes of what ran, and that nothing is left over."""

from __future__ import annotations

import os
import signal
import time

import psutil
import pytest

from django_graceful.items import State
from django_graceful.stores import get_store
from tests.harness import Runner, Site, numbers, until
from tests.site import queues

pytestmark = pytest.mark.process

QUICK = {"GRACEFUL_TEST_EXTRA": '{"HAMMER_AFTER": 0.5, "KILL_AFTER": 0.5}'}


def gone(family: list[psutil.Process]) -> bool:
    """Whether all of them have ended."""
    return not psutil.wait_procs(family, timeout=5)[1]


def waiting(queue: str) -> int:
    with get_store().admin(alone=True) as admin:
        return admin.counts()[queue].waiting


def running(runner: Runner, site: Site, n: int) -> list[psutil.Process]:
    site.said(f"start {n}")
    return runner.family()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_drain_lets_what_runs_finish_and_keeps_the_rest(site: Site, number: signal.Signals) -> None:
    queues.single.push_many({"n": n, "seconds": 0.7 if n == 0 else 0.0} for n in range(20))
    runner = site.runner().serving()
    family = running(runner, site, 0)
    assert runner.stop(number) == 0
    assert site.lines()[-1] == "end 0"
    assert waiting("single") == 19
    assert gone(family)
    runner.says("left in the store: single: 19 waiting")
    assert site.runner("--drain").end() == 0
    assert list(numbers(site.lines(), "end")) == [str(n) for n in range(20)]


def test_the_hammer_interrupts_python_code_and_the_item_runs_again_with_no_attempt_spent(site: Site) -> None:
    item_id = queues.single.push({"n": 1, "seconds": 60})
    runner = site.runner("--strict-exit", env=QUICK).serving()
    family = running(runner, site, 1)
    begin = time.monotonic()
    assert runner.stop() == 3
    assert time.monotonic() - begin < 0.5 + 0.5 + 5
    assert gone(family)
    with get_store().admin(alone=True) as admin:
        found = admin.get(item_id)
    assert found is not None
    assert (found.state, found.item.attempt, found.item.crashes, found.item.errors) == (State.WAITING, 0, 0, [])


def test_what_swallows_the_hammer_is_killed_with_its_group_and_goes_back_unharmed(site: Site) -> None:
    item_id = queues.stubborn.push({"n": 1})
    runner = site.runner("--strict-exit", env=QUICK).serving()
    family = running(runner, site, 1)
    begin = time.monotonic()
    assert runner.stop() == 4
    assert time.monotonic() - begin < 0.5 + 0.5 + 5
    assert gone(family)
    assert "swallowed Cancelled" in site.lines()
    with get_store().admin(alone=True) as admin:
        found = admin.get(item_id)
    assert found is not None
    assert (found.state, found.item.attempt, found.item.crashes) == (State.WAITING, 0, 0)


def test_an_orderly_stop_exits_with_0_even_if_something_was_killed(site: Site) -> None:
    queues.stubborn.push({"n": 1})
    runner = site.runner(env=QUICK).serving()
    running(runner, site, 1)
    assert runner.stop() == 0


def test_a_second_signal_hammers_and_a_third_kills(site: Site) -> None:
    queues.stubborn.push({"n": 1})
    runner = site.runner("--strict-exit").serving()
    running(runner, site, 1)
    begin = time.monotonic()
    runner.send(signal.SIGTERM)
    runner.says("draining")
    runner.send(signal.SIGINT)
    site.said("swallowed")
    runner.send(signal.SIGTERM)
    assert runner.end() == 4
    assert time.monotonic() - begin < 4  # well below HAMMER_AFTER + KILL_AFTER = 30


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGUSR2])
def test_quit_and_usr2_hammer_at_once(site: Site, number: signal.Signals) -> None:
    queues.single.push({"n": 1, "seconds": 60})
    runner = site.runner("--strict-exit").serving()
    running(runner, site, 1)
    assert runner.stop(number) == 3


def test_a_job_sees_that_the_node_drains_and_how_long_it_has(site: Site) -> None:
    queues.polite.push({"n": 1})
    runner = site.runner().serving()
    running(runner, site, 1)
    assert runner.stop() == 0
    word, n, left = site.lines()[-1].split()
    assert (word, n) == ("stopping", "1")
    assert 20 < float(left) <= 25


def test_an_async_job_is_cancelled_in_its_own_way(site: Site) -> None:
    queues.coroutine.push({"n": 1, "seconds": 60})
    runner = site.runner("--strict-exit").serving()
    running(runner, site, 1)
    assert runner.stop(signal.SIGQUIT) == 3
    assert waiting("coroutine") == 1


def test_quiet_takes_no_new_work_and_is_reversible(site: Site) -> None:
    runner = site.runner().serving()
    runner.send(signal.SIGTSTP)
    runner.says("quiet")
    queues.record.push("held")
    queues.wide.push("held")
    until(lambda: waiting("record") == 1, "the item to be taken in")
    assert site.lines() == []
    runner.send(signal.SIGCONT)
    site.said("record held")
    assert runner.stop() == 0


def test_hup_finishes_and_starts_again_in_place(site: Site) -> None:
    runner = site.runner().serving()
    queues.single.push({"n": 1, "seconds": 0.5})
    site.said("start 1")
    runner.send(signal.SIGHUP)
    runner.says("starting again in place")
    until(lambda: sum(" serves " in line for line in runner.log) == 2, "the second start")
    queues.record.push("after")
    site.said("record after")
    assert "end 1" in site.lines()
    assert runner.stop() == 0


def test_pushes_are_accepted_while_it_drains_and_are_handled_by_the_next_runner_in_order(site: Site) -> None:
    runner = site.runner().serving()
    queues.single.push({"n": 0, "seconds": 1.0})
    site.said("start 0")
    runner.send(signal.SIGTERM)
    runner.says("draining")
    for n in range(10):
        queues.record.push(n)
    assert runner.end() == 0
    for n in range(10, 20):
        queues.record.push(n)
    assert site.runner("--drain").end() == 0
    assert list(numbers(site.lines(), "record")) == [str(n) for n in range(20)]


def test_a_second_runner_says_which_pid_owns_the_store_and_exits_with_1(site: Site) -> None:
    first = site.runner().serving()
    second = site.runner()
    assert second.end() == 1
    assert any(f"pid {first.pid}" in line for line in second.log)
    assert first.stop() == 0


def test_two_runners_racing_for_one_store_leave_exactly_one(site: Site) -> None:
    runners = [site.runner() for _ in range(4)]
    until(lambda: sum(r.process.poll() is not None for r in runners) == 3, "three of them to give up")
    assert [r.process.poll() for r in runners if r.process.poll() is not None] == [1, 1, 1]
    queues.record.push("won")
    site.said("record won")
    assert next(r for r in runners if r.process.poll() is None).stop() == 0


def test_nothing_at_warning_or_above_on_a_normal_stop(site: Site) -> None:
    runner = site.runner().serving()
    queues.record.push(1)
    site.said("record 1")
    assert runner.stop() == 0
    assert not [line for line in runner.log if any(word in line for word in ("WARNING", "ERROR", "CRITICAL"))]
    assert any("stopped after" in line and "1 done" in line for line in runner.log)


def test_the_log_names_what_is_waited_for(site: Site) -> None:
    queues.single.push({"n": 1, "seconds": 6})
    runner = site.runner().serving()
    running(runner, site, 1)
    runner.send(signal.SIGTERM)
    line = runner.says("waiting for")
    assert "single" in line
    assert "hammer in" in line
    assert runner.end() == 0


def test_no_slate_socket_or_process_is_left(site: Site) -> None:
    runner = site.runner().serving()
    queues.record.push(1)
    site.said("record 1")
    family = runner.family()
    assert runner.stop() == 0
    assert gone(family)
    assert os.listdir(site.store / "slates") == []
    assert not (site.store / "control.sock").exists()


def test_what_was_prefetched_goes_back_in_order_and_nothing_of_it_is_lost_or_charged(site: Site) -> None:
    total = 20_000
    queues.record.push_many(range(total))
    runner = site.runner().serving()
    until(lambda: len(site.lines()) > 2000, "large chunks in the worker's hands")
    assert runner.stop() == 0
    done = len(site.lines())
    assert 2000 < done < total
    assert any("given back unstarted" in line and " 0 given back" not in line for line in runner.log)
    with get_store().admin(alone=True) as admin:
        page = admin.page("record", State.WAITING, limit=1000)
        assert admin.counts()["record"].waiting == total - done
    assert [found.item.payload for found in page.items] == list(range(done, done + len(page.items)))
    assert {(found.item.attempt, found.item.crashes) for found in page.items} == {(0, 0)}
    assert site.runner("--drain").end() == 0
    assert list(numbers(site.lines(), "record")) == [str(n) for n in range(total)]
