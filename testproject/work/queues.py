"""Four kinds of work to try: quick, slow, flaky, and hopeless."""

from __future__ import annotations

import time
from typing import Any

from django.db.models import F

from django_graceful import process, queue
from testproject.work.models import Job

#: How long the slow job takes, in seconds.
SLOW = 30


@queue("tiny")
def tiny(payload: dict[str, Any]) -> None:
    """Nothing at all: what it costs is the queue's own time."""


@queue("slow", max_workers=3)
def slow(payload: dict[str, Any]) -> None:
    """Take :data:`SLOW` seconds, note each percent, and stop where it is when asked to."""
    _note_try(payload)
    with process("A slow job") as running:
        for percent in range(1, 101):
            running.check()
            time.sleep(SLOW / 100)
            running.progress(percent, 100)
            Job.objects.filter(pk=payload["job"]).update(percent=percent)


@queue("flaky", max_workers=2, backoff=2)
def flaky(payload: dict[str, Any]) -> None:
    """Fail twice, then work."""
    if _note_try(payload) <= 2:
        raise ConnectionError("the other side does not answer (it will, at the third try)")
    Job.objects.filter(pk=payload["job"]).update(percent=100)


@queue("failing", max_workers=2, max_attempts=3, backoff=1)
def failing(payload: dict[str, Any]) -> None:
    """Fail each time, until no attempt is left and the item is dead."""
    _note_try(payload)
    raise ValueError("this never works")


def _note_try(payload: dict[str, Any]) -> int:
    """Count this run; how many there were."""
    jobs = Job.objects.filter(pk=payload["job"])
    jobs.update(tries=F("tries") + 1)
    return jobs.values_list("tries", flat=True).first() or 0
