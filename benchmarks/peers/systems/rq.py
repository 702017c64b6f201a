"""RQ, with its default worker (a fork for each job) or the simple one; nothing is kept of a job that is done."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from redis import Redis
from rq import Queue

from benchmarks.peers import handler

_queue = Queue("default", connection=Redis.from_url(os.environ["PEERS_URL"]))


def push_each(numbers: Iterable[int]) -> None:
    for number in numbers:
        _queue.enqueue(handler.mark, number, result_ttl=0)


def push_many(numbers: Sequence[int]) -> None:
    _queue.enqueue_many([Queue.prepare_data(handler.mark, (number,), result_ttl=0) for number in numbers])


def push_late(moment: int) -> None:
    _queue.enqueue(handler.late, moment, result_ttl=0)
