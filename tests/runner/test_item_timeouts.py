"""A run that takes too long is stopped, by its queue's time or its item's own, whatever it does; that is an attempt."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from django_graceful.items import State
from django_graceful.stores import get_store
from django_graceful.stores.base import Found
from tests.harness import Site, numbers, until
from tests.site import queues

pytestmark = pytest.mark.process


def found(item_id: str) -> Found | None:
    with get_store().admin() as admin:
        return admin.get(item_id)


def dead(item_id: str) -> Found:
    def look() -> Found | None:
        item = found(item_id)
        return item if item is not None and item.state is State.DEAD else None

    result = until(look, "a dead item")
    assert isinstance(result, Found)
    return result


def settings(name: str, **options: Any) -> dict[str, str]:
    return {"GRACEFUL_TEST_EXTRA": json.dumps({"QUEUES": {name: options}, "CANCEL_GRACE": 0.6})}


def test_an_item_has_its_own_time_where_its_queue_has_none_and_where_it_has_another(site: Site) -> None:
    runner = site.runner(env=settings("slow", MAX_ATTEMPTS=2, BACKOFF=0.05, MAX_WORKERS=1)).serving()
    short = queues.slow.push({"n": 1, "seconds": 60}, timeout=0.2)
    queues.slow.push({"n": 2, "seconds": 0.5})
    long = queues.limited.push({"n": 3, "seconds": 0.8}, timeout=20)
    item = dead(short)
    assert [error["type"] for error in item.item.errors] == ["timed out"] * 2
    assert item.item.errors[0]["message"] == "ran longer than 0.2 s"
    assert (item.item.attempt, item.item.crashes, item.detail["reason"]) == (2, 0, "timed out")
    until(lambda: found(long) is None, "the one with more time than its queue")
    site.said("end 2")
    assert Counter(numbers(site.lines(), "start")) == {"1": 2, "2": 1, "3": 1}
    assert runner.stop() == 0
    assert not any("error of its own" in line for line in runner.log)


def test_a_batch_has_the_time_of_its_most_patient_item(site: Site) -> None:
    runner = site.runner(env=settings("lingering", TIMEOUT=0.3, MAX_ATTEMPTS=1)).serving()
    patient = queues.lingering.push_many([1.2, 0.0], timeout=30)
    site.said("batch-end 1.2 0.0")
    until(lambda: found(patient[0]) is None, "a batch that is done")
    late = queues.lingering.push_many([5.0, 0.0], timeout=0.4)
    assert [dead(item_id).item.errors[0]["message"] for item_id in late] == ["ran longer than 0.4 s"] * 2
    assert runner.stop() == 0


@pytest.mark.parametrize("how", ["command", "stuck", "deaf", "coroutine"])
def test_whatever_a_late_run_does_it_ends_counts_as_an_attempt_and_is_tried_again(site: Site, how: str) -> None:
    queue, payload = {
        "command": (queues.command, {"n": 1, "argv": ["sleep", "60"]}),
        "stuck": (queues.stuck, {"n": 1, "gil": True}),
        "deaf": (queues.stubborn, {"n": 1}),
        "coroutine": (queues.coroutine, {"n": 1, "seconds": 60}),
    }[how]
    runner = site.runner(env=settings(queue.name, MAX_ATTEMPTS=2, BACKOFF=0.05)).serving()
    item_id = queue.push(payload, timeout=0.3)
    item = dead(item_id)
    assert [error["type"] for error in item.item.errors] == ["timed out"] * 2
    assert (item.item.attempt, item.item.crashes) == (2, 0)
    kills = [error["at"] - error["killed_at"] for error in item.item.errors if "killed_at" in error]
    assert len(kills) == (2 if how in ("stuck", "deaf") else 0)
    assert all(0 <= seconds < 10 for seconds in kills)
    assert list(numbers(site.lines(), "start")).count("1") == 2
    assert runner.stop() == 0
    assert any(f"{2 if how in ('stuck', 'deaf') else 0} killed" in line for line in runner.log)
