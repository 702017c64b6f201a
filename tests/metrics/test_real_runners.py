"""Metrics of real runners: what they did is told right by whoever is asked, also while one of them stands still."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import psutil
import pytest

from django_graceful.metrics.exposition import Collector, expose
from tests.harness import Site, until
from tests.metrics.conftest import Samples, read, value
from tests.redis.conftest import redis_site  # noqa: F401
from tests.redis.pushing import push
from tests.redis.site import RedisSite
from tests.site import queues

pytestmark = pytest.mark.process


def scrape() -> Samples:
    return read(expose(Collector())[0].decode())


def outcomes(found: Samples, queue: str) -> dict[str, float]:
    names = ("done", "retry", "dead", "cancelled", "interrupted", "crashed")
    return {name: number for name in names if (number := value(found, "outcomes_total", queue=queue, outcome=name))}


def test_what_a_runner_did_is_told_in_numbers_and_times_also_when_it_stands_still(site: Site) -> None:
    runner = site.runner().serving()
    queues.noop.push_many(range(500))
    queues.flaky.push({"n": 1, "fails": 2})
    queues.poison.push({"times": 1})
    queues.slow.push({"n": 2, "seconds": 0.3})
    queues.single.push({"n": 3, "seconds": 600})
    expected = {"noop": {"done": 500}, "flaky": {"done": 1, "retry": 2}, "slow": {"done": 1}}
    until(lambda: all(outcomes(scrape(), name) == wanted for name, wanted in expected.items()), "the runs to be told")
    until(lambda: value(scrape(), "crashes_total", queue="poison") == 3, "the crashes to be told")
    found = scrape()
    assert outcomes(found, "poison") == {"crashed": 2, "dead": 1}
    assert value(found, "run_seconds_count", queue="noop") == value(found, "wait_seconds_count", queue="noop") == 500
    assert value(found, "run_seconds_bucket", queue="slow", le="0.25") == 0
    assert value(found, "run_seconds_count", queue="slow") == 1
    assert 0.3 <= (value(found, "run_seconds_sum", queue="slow") or 0) < 10
    assert value(found, "run_seconds_count", queue="flaky") == 3
    assert value(found, "items", queue="single", state="running") == 1
    assert (value(found, "resident_bytes", pid=str(runner.pid), role="master") or 0) > 1 << 20
    assert (value(found, "workers", pid=str(runner.pid), state="busy") or 0) >= 1
    runner.send(signal.SIGSTOP)
    until(lambda: psutil.Process(runner.pid).status() == psutil.STATUS_STOPPED, "the runner to be stopped")
    begin = time.monotonic()
    found = scrape()
    assert time.monotonic() - begin < 1
    assert value(found, "silent_nodes", store="default") == 1
    assert value(found, "up", store="default") == 0
    runner.send(signal.SIGCONT)
    until(lambda: value(scrape(), "up", store="default") == 1, "the runner to answer again")


def test_each_runner_of_a_redis_store_is_told_apart(redis_site: Callable[..., RedisSite]) -> None:  # noqa: F811
    site = redis_site()
    first = site.runner("record", env=site.through(site.url, "host1")).serving()
    second = site.runner("slow", env=site.through(site.url, "host2")).serving()
    push(site, "record", *range(5))
    push(site, "slow", {"n": 1, "seconds": 0})
    site.said("record 4")
    site.said("end 1")

    def told() -> Samples | None:
        found = read(site.manage("graceful", "metrics").stdout)
        ended = value(found, "outcomes_total", queue="record", outcome="done") == 5
        return found if ended and value(found, "outcomes_total", queue="slow", outcome="done") else None

    found = until(told, "both runners to tell")
    assert value(found, "nodes", store="default", kind="runner") == 2
    assert value(found, "outcomes_total", queue="record", outcome="done", pid=str(first.pid)) == 5
    assert value(found, "outcomes_total", queue="slow", outcome="done", pid=str(second.pid)) == 1
    assert value(found, "pushed_total", queue="record") == 5
    assert value(found, "up", store="default") == 1
