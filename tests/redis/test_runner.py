"""Runners on a redis store: the promises that hold with LevelDB hold here, on one host and on several (P1 to P8)."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from django_graceful.items import State
from django_graceful.stores.base import StoreAdmin
from tests.harness import numbers, until
from tests.redis.proxy import Proxy
from tests.redis.pushing import desk, push
from tests.redis.server import Server
from tests.redis.site import RedisSite

pytestmark = pytest.mark.process

NewSite = Callable[..., RedisSite]
AOF = ("--appendonly", "yes", "--appendfsync", "always")


def counts(admin: StoreAdmin, queue: str) -> Any:
    return admin.counts()[queue]


def test_a_runner_handles_what_is_pushed_and_leaves_nothing_on_its_host(redis_site: NewSite) -> None:
    site = redis_site()
    runner = site.runner().serving()
    push(site, "record", *range(5))
    site.said("record 4")
    assert len(os.listdir(site.store)) == 1
    assert runner.stop() == 0
    assert list(numbers(site.lines(), "record")) == ["0", "1", "2", "3", "4"]
    assert os.listdir(site.store) == []
    runner.says("nothing is left in the queues")


def test_the_command_sees_and_steers_the_runners_of_all_hosts(redis_site: NewSite) -> None:
    site = redis_site()
    first = site.runner(env=site.through(site.url, "host1")).serving()
    second = site.runner(env=site.through(site.url, "host2")).serving()
    (item,) = push(site, "single", {"n": 1, "seconds": 60})
    site.said("start 1")
    status = json.loads(site.manage("graceful", "status", "--json").stdout)["stores"][0]
    assert {runner["pid"] for runner in status["runners"]} == {first.pid, second.pid}
    assert [run["item"] for runner in status["runners"] for run in runner["running"]] == [item]
    nodes = json.loads(site.manage("graceful", "processes", "--json").stdout)["nodes"]
    (job,) = (row["id"] for node in nodes for row in node["processes"])
    assert site.manage("graceful", "cancel", job, "--no-input").returncode == 0
    with desk(site) as admin:
        until(lambda: counts(admin, "single").cancelled, "the cancel")
    assert site.manage("graceful", "shutdown").returncode == 0
    assert first.process.poll() is None, "that is the other host's"
    for runner, runtime in ((first, "host1"), (second, "host2")):
        site.env["GRACEFUL_TEST_STORE"] = str(site.store.parent / runtime)
        assert site.manage("graceful", "shutdown", "--wait").returncode == 0
        assert runner.end() == 0


def test_what_a_killed_runner_had_is_back_at_the_next_start_on_its_host(redis_site: NewSite) -> None:
    site = redis_site()
    runner = site.runner().serving()
    push(site, "wide", *range(20))
    push(site, "slow", {"n": 1, "seconds": 3})
    site.said("start 1")
    until(lambda: len(list(numbers(site.lines(), "wide"))) == 20, "the quick ones")
    worker = next(line.split()[2] for line in site.lines() if line.startswith("start 1"))
    runner.process.kill()
    began = time.monotonic()
    other = site.runner().serving()
    until(lambda: site.lines().count("end 1") == 1, "the slow one again")
    assert time.monotonic() - began < 12, "it did not wait for the lease to run out"
    assert Counter(numbers(site.lines(), "wide")).most_common(1)[0][1] == 1, "a finished item is never run again"
    assert not psutil.pid_exists(int(worker))
    with desk(site) as admin:
        until(lambda: counts(admin, "slow").done == 1, "its end to be written")
    assert len(os.listdir(site.store)) == 1, "the dead runner's seat is gone"
    assert other.stop() == 0


def test_a_dead_hosts_work_is_back_within_15_s_and_a_live_one_is_never_rescued(redis_site: NewSite) -> None:
    site = redis_site()
    push(site, "single", {"n": 1, "seconds": 60})
    dead = site.runner("single", env=site.through(site.url, "host1")).serving()
    site.said("start 1")
    draining = site.runner("slow", env=site.through(site.url, "host2")).serving()
    push(site, "slow", {"n": 2, "seconds": 16})
    site.said("start 2")
    draining.send(signal.SIGTERM)
    for process in dead.family():
        process.kill()
    killed = time.monotonic()
    other = site.runner(env=site.through(site.url, "host3")).serving()
    until(lambda: len([line for line in site.lines() if line.startswith("start 1 ")]) == 2, "the rescue")
    assert time.monotonic() - killed < 15
    until(lambda: any("leases ran out" in line for line in (*other.log, *draining.log)), "it to be said")
    assert draining.end() == 0
    assert [line.split()[0] for line in site.lines() if line.split()[1] == "2"] == ["start", "end"]
    other.send(signal.SIGUSR2)
    assert other.end() == 0
    with desk(site) as admin:
        page = admin.page("single", State.WAITING)
        assert [found.item.crashes for found in page.items] == [1]


def test_jobs_go_on_while_the_server_is_away_and_their_ends_are_written_when_it_is_back(
    redis_site: NewSite, own_server: Callable[..., Server], proxied: Callable[[Server], Proxy]
) -> None:
    running = own_server()
    proxy = proxied(running)
    site = redis_site(running.url)
    runner = site.runner(env=site.through(proxy.url)).serving()
    push(site, "single", {"n": 1, "seconds": 1.5})
    site.said("start 1")
    proxy.cut()
    site.said("end 1")
    runner.says("trying again, nothing is lost")
    push(site, "record", "meanwhile")
    with desk(site) as admin:
        assert counts(admin, "single").running == 1
        proxy.heal()
        healed = time.monotonic()
        site.said("record meanwhile")
        assert time.monotonic() - healed < 5
        until(lambda: counts(admin, "single").done == 1, "the end of the job")
    runner.says("all is well again")
    assert runner.stop() == 0
    assert site.lines().count("end 1") == 1


@pytest.mark.parametrize("way", ["both", "back", "cut"])
def test_a_stop_during_an_outage_keeps_its_limit_and_the_next_start_knows_what_was_done(
    redis_site: NewSite, own_server: Callable[..., Server], proxied: Callable[[Server], Proxy], way: str
) -> None:
    running = own_server()
    proxy = proxied(running)
    site = redis_site(running.url)
    runner = site.configured(site.through(proxy.url), HAMMER_AFTER=1, KILL_AFTER=1).serving()
    push(site, "single", {"n": 1, "seconds": 0.5})
    push(site, "stubborn", {"n": 2})
    site.said("start 1")
    site.said("start 2")
    proxy.cut() if way == "cut" else proxy.freeze(there=way != "back")
    site.said("end 1")
    began = time.monotonic()
    runner.send(signal.SIGTERM)
    assert runner.end() == 0
    assert time.monotonic() - began < 1 + 1 + 5
    assert not [line for line in runner.log if "by force" in line]
    assert not [process for process in psutil.process_iter() if _is_worker(process, site)]
    with desk(site) as admin:
        assert counts(admin, "single").running + counts(admin, "stubborn").running >= 1
        other = site.runner("single").serving()
        until(lambda: counts(admin, "single").done == 1, "the next start to settle it")
        until(lambda: counts(admin, "stubborn").running == 0, "the other one to come back")
    assert other.stop() == 0
    assert site.lines().count("end 1") == 1


def _is_worker(process: psutil.Process, site: RedisSite) -> bool:
    try:
        return process.environ().get("GRACEFUL_TEST_OUT") == str(site.out)
    except psutil.Error:
        return False


def test_a_runner_may_start_while_the_server_is_away(redis_site: NewSite, own_server: Callable[..., Server]) -> None:
    running = own_server(*AOF)
    site = redis_site(running.url)
    push(site, "record", 1)
    running.kill()
    runner = site.runner()
    runner.says("can not be reached")
    runner.serving()
    running.start()
    site.said("record 1")
    assert runner.stop() == 0


def test_a_server_that_was_killed_and_came_back_is_worked_on(
    redis_site: NewSite, own_server: Callable[..., Server]
) -> None:
    running = own_server(*AOF)
    site = redis_site(running.url)
    runner = site.runner().serving()
    push(site, "single", {"n": 1, "seconds": 1})
    push(site, "record", *range(200))
    site.said("start 1")
    running.kill()
    site.said("end 1")
    running.start()
    push(site, "record", "after")
    site.said("record after")
    with desk(site) as admin:
        until(lambda: counts(admin, "single").done == 1 and counts(admin, "record").done == 201, "all to be done")
        assert admin.check() == []
    assert runner.stop() == 0
    assert sorted(Counter(numbers(site.lines(), "record")).values())[-1] == 1
    assert site.lines().count("end 1") == 1


def test_an_emptied_database_is_said_loudly_and_nothing_hangs(
    redis_site: NewSite, own_server: Callable[..., Server]
) -> None:
    running = own_server()
    site = redis_site(running.url)
    runner = site.runner().serving()
    push(site, "single", {"n": 1, "seconds": 60})
    site.said("start 1")
    with running.client() as client:
        client.flushall()
    assert "CRITICAL" in runner.says("the queues are gone")
    runner.says("is stopped here: its lease was lost")
    push(site, "single", {"n": 2, "seconds": 0})
    site.said("end 2")
    assert runner.stop() == 0
    assert "end 1" not in site.lines()


def test_scripts_that_are_flushed_under_load_are_sent_again(
    redis_site: NewSite, own_server: Callable[..., Server]
) -> None:
    running = own_server()
    site = redis_site(running.url)
    runner = site.runner().serving()
    with running.client() as client:
        for n in range(0, 300, 10):
            push(site, "record", *range(n, n + 10))
            client.script_flush()
    until(lambda: len(site.lines()) == 300, "all to be handled")
    assert runner.stop() == 0
    assert sorted(map(int, numbers(site.lines(), "record"))) == list(range(300))
    assert not [line for line in runner.log if "ERROR" in line or "WARNING" in line]


def test_a_slow_network_makes_it_slow_and_nothing_else(
    redis_site: NewSite, own_server: Callable[..., Server], proxied: Callable[[Server], Proxy]
) -> None:
    running = own_server()
    proxy = proxied(running)
    proxy.latency = 0.05
    site = redis_site(running.url)
    runner = site.runner(env=site.through(proxy.url)).serving()
    push(site, "record", *range(100))
    until(lambda: len(site.lines()) == 100, "all to be handled")
    assert runner.stop() == 0
    assert sorted(map(int, numbers(site.lines(), "record"))) == list(range(100))
    with desk(site) as admin:
        assert counts(admin, "record").done == 100
    assert not [line for line in runner.log if "ERROR" in line or "WARNING" in line]


def test_what_a_dead_runners_jobs_left_running_is_ended_by_the_next_start(redis_site: NewSite) -> None:
    site = redis_site()
    runner = site.runner().serving()
    sleep = ["sleep", f"600.{os.getpid()}{time.time_ns()}"]
    push(site, "command", {"n": 1, "argv": sleep, "bare": True})
    site.said("cleanup 1")
    (left,) = (process for process in psutil.process_iter() if _command(process) == sleep)
    for process in sorted(runner.family(), key=lambda process: process.pid == runner.pid):
        if process.pid != left.pid:
            process.kill()
    runner.end()
    assert left.is_running()
    other = site.runner().serving()
    until(lambda: not psutil.pid_exists(left.pid) or left.status() == psutil.STATUS_ZOMBIE, "its end")
    assert other.stop() == 0


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
