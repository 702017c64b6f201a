"""arq: its handlers are coroutines. It has no call for many."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from functools import cache
from typing import Any

from arq import create_pool
from arq.connections import ArqRedis, RedisSettings

from benchmarks.peers import handler

_settings = RedisSettings.from_dsn(os.environ["PEERS_URL"])


async def mark(ctx: dict[str, Any], number: int) -> None:
    if handler.NAP:
        await asyncio.sleep(handler.NAP)
    handler.note(number)


async def late(ctx: dict[str, Any], moment: int) -> None:
    handler.late(moment)


class WorkerSettings:
    """More jobs at once and quicker polling than the defaults (10 and 0.5 s), which would only slow it down here."""

    functions = [mark, late]
    redis_settings = _settings
    keep_result = 0
    max_jobs = 100
    poll_delay = 0.05


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


@cache
def _pool() -> ArqRedis:
    return _loop().run_until_complete(create_pool(_settings))


def push_each(numbers: Iterable[int]) -> None:
    _loop().run_until_complete(_push_all(_pool(), numbers))


def push_late(moment: int) -> None:
    _loop().run_until_complete(_pool().enqueue_job("late", moment))


async def _push_all(pool: ArqRedis, numbers: Iterable[int]) -> None:
    for number in numbers:
        await pool.enqueue_job("mark", number)
