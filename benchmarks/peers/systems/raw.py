"""The barest thing: a list, redis-py, one round trip for each step. As a program it is a worker, until TERM."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence

import redis

from benchmarks.peers import handler

_client = redis.Redis.from_url(os.environ["PEERS_URL"])


def push_each(numbers: Iterable[int]) -> None:
    for number in numbers:
        _client.lpush("waiting", _record("mark", number))


def push_many(numbers: Sequence[int]) -> None:
    _client.lpush("waiting", *(_record("mark", number) for number in numbers))


def push_late(moment: int) -> None:
    _client.lpush("waiting", _record("late", moment))


def work() -> None:
    """Take, run, remove; what a killed worker had taken stays in ``running`` for ever."""
    handlers = {"mark": handler.mark, "late": handler.late}
    while True:
        if (record := _client.brpoplpush("waiting", "running", timeout=1)) is not None:
            name, value = json.loads(record)
            handlers[name](value)
            _client.lrem("running", 1, record)


def _record(name: str, value: int) -> str:
    return json.dumps([name, value])


if __name__ == "__main__":
    work()
