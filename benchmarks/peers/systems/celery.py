"""Celery over Redis, told to acknowledge late, so that a killed worker's task is not gone. It has no call for many."""

from __future__ import annotations

import os
from collections.abc import Iterable

from celery import Celery

from benchmarks.peers import handler

app = Celery("peers", broker=os.environ["PEERS_URL"])
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
)
mark = app.task(handler.mark, name="mark")
late = app.task(handler.late, name="late")


def push_each(numbers: Iterable[int]) -> None:
    for number in numbers:
        mark.delay(number)


def push_late(moment: int) -> None:
    late.delay(moment)
