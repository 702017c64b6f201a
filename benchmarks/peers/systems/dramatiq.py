"""Dramatiq over Redis, with its default middleware. It has no call for many."""

from __future__ import annotations

import os
from collections.abc import Iterable

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.peers import handler

dramatiq.set_broker(RedisBroker(url=os.environ["PEERS_URL"]))
mark = dramatiq.actor(handler.mark)
late = dramatiq.actor(handler.late)


def push_each(numbers: Iterable[int]) -> None:
    for number in numbers:
        mark.send(number)


def push_late(moment: int) -> None:
    late.send(moment)
