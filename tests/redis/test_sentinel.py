"""A failover by Sentinel: the new primary is found, and what ran ends there (P1, P2)."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis

from django_graceful.exceptions import StoreUnavailable
from tests.harness import until
from tests.redis.pushing import desk, push
from tests.redis.server import _WITH_PARENT, Server, binary, free_port
from tests.redis.site import RedisSite


@pytest.fixture
def sentinels(tmp_path: Path) -> Iterator[Callable[[Server], list[int]]]:
    """Three of them, which watch a primary; their ports."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(primary: Server) -> list[int]:
        ports = [free_port() for _ in range(3)]
        for port in ports:
            conf = tmp_path / f"sentinel{port}.conf"
            conf.write_text(
                f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\n"
                f"sentinel monitor queues 127.0.0.1 {primary.port} 2\n"
                "sentinel down-after-milliseconds queues 2000\nsentinel failover-timeout queues 2000\n"
            )
            command = [sys.executable, "-c", _WITH_PARENT, binary(), str(conf), "--sentinel"]
            with (tmp_path / f"sentinel{port}.log").open("wb") as log:
                processes.append(subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True))
        until(lambda: all(_knows_all(port) for port in ports), "the sentinels to see each other and the replica")
        return ports

    yield start
    for process in processes:
        process.kill()
        process.wait()


def _knows_all(port: int) -> bool:
    with suppress(redis.RedisError), redis.Redis(port=port) as client:
        (state,) = client.sentinel_masters().values()
        return bool(state["num-other-sentinels"] == 2 and state["num-slaves"] == 1)
    return False


@pytest.mark.process
def test_after_a_failover_everything_goes_on_where_it_was(
    redis_site: Callable[..., RedisSite],
    own_server: Callable[..., Server],
    sentinels: Callable[[Server], list[int]],
) -> None:
    primary = own_server()
    replica = own_server("--replicaof", "127.0.0.1", str(primary.port), "--repl-diskless-sync-delay", "0")
    ports = sentinels(primary)
    options = {
        "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
        "CLIENT_CLASS": "django_redis.client.SentinelClient",
        "SENTINELS": [["127.0.0.1", port] for port in ports],
    }
    site = redis_site("redis://queues/0", options)
    runner = site.runner().serving()
    until(lambda: _pushed(site, "single", {"n": 1, "seconds": 8}), "the sentinels to name the primary")
    until(lambda: _pushed(site, "record", "before"), "another push")
    site.said("start 1")
    site.said("record before")
    with desk(site) as admin:
        until(lambda: admin.counts()["record"].done == 1, "its end to be written")
    with primary.client() as client:
        client.set("written", "after all that")  # WAIT is about the writes of its own connection
        assert client.wait(1, 10_000) == 1
    primary.kill()
    until(lambda: _pushed(site, "record", "after"), "a push to work again")
    site.said("record after")
    site.said("end 1")
    with replica.client() as client:
        assert client.role()[0] == b"master"
    with desk(site) as admin:
        until(lambda: admin.counts()["single"].done == 1, "the end of the job to be written")
        assert admin.counts()["record"].done == 2
        assert admin.check() == []
    assert runner.stop() == 0
    assert len([line for line in site.lines() if line.startswith("start 1 ")]) == 1


def _pushed(site: RedisSite, queue: str, payload: object) -> bool:
    with suppress(StoreUnavailable):
        push(site, queue, payload)
        return True
    time.sleep(0.1)
    return False
