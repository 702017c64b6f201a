"""The same figures on a Redis store, against the barest thing that one can do with the same server."""

from __future__ import annotations

import time

import redis

from benchmarks import queues
from benchmarks.site import Runner, fresh_site, idle_latencies, redis_server, wait_done


def over_redis(number: int = 30_000, waits: int = 400) -> dict[str, float]:
    """Pushes, a drain of no-op items, and the latency of an idle system."""
    found: dict[str, float] = {}
    with redis_server() as url:
        client, payload = redis.Redis.from_url(url), b"x" * 100
        found["redis: LPUSH of redis-py in a loop (/s)"] = number / _timed(
            lambda: [client.lpush("raw", payload) for _ in range(number)]
        )
        with fresh_site(server=url):
            queues.noop.push(0)
            found["redis: push (/s)"] = number / _timed(lambda: [queues.noop.push({"n": n}) for n in range(number)])
        with fresh_site(server=url):
            found["redis: push_many by 100 (/s)"] = (
                4
                * number
                / _timed(lambda: [queues.noop.push_many([{"n": n}] * 100) for n in range(0, 4 * number, 100)])
            )
            runner = Runner().serving()
            begin, first = wait_done("noop", 1)
            end, last = wait_done("noop", 4 * number)
            runner.stop()
            found["redis: drain noop (/s)"] = (last - first) / (end - begin)
        with fresh_site(server=url) as root:
            times = idle_latencies(root, waits)
    return found | {
        "redis: latency p50 (ms)": times[len(times) // 2],
        "redis: latency p99 (ms)": times[int(len(times) * 0.99)],
    }


def _timed(act: object) -> float:
    begin = time.perf_counter()
    act()  # type: ignore[operator]
    return time.perf_counter() - begin
