"""Signals of a real runner, as a site's receivers in its workers see them."""

from __future__ import annotations

import signal

import pytest

from tests.harness import Site, until
from tests.site import queues

pytestmark = pytest.mark.process

LOUD = {"GRACEFUL_TEST_SIGNALS": "1"}


def heard(site: Site) -> list[str]:
    return [line.removeprefix("signal ").strip() for line in site.lines() if line.startswith("signal ")]


def test_an_item_is_announced_when_it_starts_finishes_and_dies_and_a_broken_receiver_changes_nothing(
    site: Site,
) -> None:
    runner = site.runner(env=LOUD).serving()
    queues.record.push("fine")
    until(lambda: "finished record fine done" in heard(site), "the end")
    queues.verdict.push({"how": "discard"})
    until(lambda: any(line.startswith("dead") for line in heard(site)), "a death")
    assert heard(site) == [
        "started record fine",
        "finished record fine done",
        "started verdict {'how': 'discard'}",
        "finished verdict {'how': 'discard'} dead",
        "dead verdict {'how': 'discard'}  of_no_use",
    ]
    runner.says("a receiver that fails")
    assert runner.stop() == 0


def test_an_item_that_died_with_its_workers_is_announced_by_another(site: Site) -> None:
    runner = site.runner(env=LOUD).serving()
    queues.poison.push(7)
    until(lambda: any(line.startswith("dead poison 7") for line in heard(site)), "a death")
    assert sum(line.startswith("dead") for line in heard(site)) == 1
    assert runner.stop() == 0


def test_a_worker_announces_the_phases_in_order_and_at_once(site: Site) -> None:
    runner = site.runner(env=LOUD).serving()
    queues.single.push({"n": 1, "seconds": 60})
    site.said("start 1")
    assert runner.stop(signal.SIGQUIT) == 0
    assert [word for word in heard(site) if " " not in word] == ["draining", "hammer", "terminate"]


def test_an_idle_worker_that_leaves_announces_only_its_own_end(site: Site) -> None:
    site.runner(env=LOUD | {"GRACEFUL_TEST_EXTRA": '{"WORKER_IDLE": 0.1}'}).serving()
    queues.record.push(1)
    until(lambda: "terminate" in heard(site), "the worker's end")
    assert "draining" not in heard(site)
