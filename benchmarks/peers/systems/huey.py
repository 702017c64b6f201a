"""Huey over Redis (blocking pop), without results. It has no call for many."""

from __future__ import annotations

import os
from collections.abc import Iterable

from huey import RedisHuey

from benchmarks.peers import handler

huey = RedisHuey("peers", url=os.environ["PEERS_URL"], results=False)
mark = huey.task()(handler.mark)
late = huey.task()(handler.late)


def push_each(numbers: Iterable[int]) -> None:
    for number in numbers:
        mark(number)


def push_late(moment: int) -> None:
    late(moment)
