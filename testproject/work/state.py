"""The state of the queues and of the newest jobs, for the page and for its JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from django_graceful import all_queues
from django_graceful.exceptions import StoreError
from django_graceful.items import State
from django_graceful.stores import get_store
from django_graceful.stores.base import Counts, StoreAdmin
from testproject.work.models import Job
from testproject.work.queues import SLOW

#: What the page shows of each queue, in this order.
COLUMNS = ("waiting", "scheduled", "retrying", "running", "dead", "cancelled", "done")
NEWEST = 12
_LIVE = (State.WAITING, State.SCHEDULED, State.RETRYING, State.RUNNING)
_LABELS = {
    "slow": f"A job of {SLOW} seconds",
    "flaky": "A job that fails twice",
    "failing": "A job that always fails",
}


def read_state() -> dict[str, Any]:
    """Everything, as JSON can hold it. ``runner`` is False when nobody owns the store; ``problem`` says why."""
    jobs = list(Job.objects.all()[:NEWEST])
    try:
        with get_store().admin() as admin:
            counts, states = admin.counts(), _states(admin, jobs)
    except StoreError as error:
        return {"runner": False, "problem": str(error), "queues": [], "jobs": [job_row(job, None) for job in jobs]}
    return {
        "runner": True,
        "problem": "",
        "queues": queue_rows(counts),
        "jobs": [job_row(job, states[job.item]) for job in jobs],
    }


def _states(admin: StoreAdmin, jobs: list[Job]) -> dict[str, str]:
    """For each job's item the name of its state; ``done`` when the store has it no more."""
    found = {job.item: admin.get(job.item) for job in jobs}
    return {item: str(there.state) if there else "done" for item, there in found.items()}


def queue_rows(counts: Mapping[str, Counts]) -> list[dict[str, Any]]:
    """One row for each queue that the site declares, in numbers."""
    rows = []
    for name in all_queues():
        numbers = asdict(counts.get(name) or Counts())
        rows.append({"name": name, "counts": {column: numbers[column] for column in COLUMNS}})
    return rows


def job_row(job: Job, state: str | None) -> dict[str, Any]:
    """One job; ``state`` is None when the store can not be asked."""
    return {
        "pk": job.pk,
        "label": _LABELS.get(job.kind, job.kind),
        "state": state or "unknown",
        "tries": job.tries,
        "percent": job.percent,
        "cancellable": state in _LIVE,
        "retryable": state in (State.DEAD, State.CANCELLED),
    }
