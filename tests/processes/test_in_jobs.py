"""Subprocesses of jobs under a real runner: whoever ends, and however, nothing of a job is left (promise P5)."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from django_graceful.items import State
from django_graceful.stores import get_store
from tests.harness import Site, until
from tests.processes.conftest import Census
from tests.processes.test_endings import family
from tests.site import queues

pytestmark = pytest.mark.process

QUICK = {"GRACEFUL_TEST_EXTRA": '{"HAMMER_AFTER": 0.5, "KILL_AFTER": 2, "CANCEL_GRACE": 2}'}
WAYS = ["child", "deaf child", "session", "deaf session", "daemon", "deaf daemon"]


def large_family(census: Census) -> list[str]:
    """A command that ignores TERM, with one descendant of each kind: seven processes."""
    lines = [family(census.name, way) for way in WAYS]
    return ["sh", "-c", "\n".join(["trap '' TERM", *lines, "while :; do sleep 0.1; done", f": {census.name}"])]


def all_there(census: Census) -> None:
    until(lambda: len(census.alive()) >= 7, "the family to be complete")


def started(site: Site, n: int) -> int:
    """The pid of the worker that began it last."""
    site.said(f"start {n}")
    return [int(line.split()[2]) for line in site.lines() if line.startswith(f"start {n} ")][-1]


def state(item_id: str) -> tuple[State, int, int]:
    with get_store().admin(alone=True) as admin:
        found = admin.get(item_id)
    assert found is not None
    return found.state, found.item.attempt, found.item.crashes


def test_the_hammer_ends_the_family_and_the_job_still_cleans_up(site: Site, census: Census) -> None:
    item_id = queues.command.push({"n": 1, "argv": large_family(census)})
    runner = site.runner("--strict-exit", env=QUICK).serving()
    started(site, 1)
    directory = Path(site.lines()[-1].split()[3])
    all_there(census)
    begin = time.monotonic()
    assert runner.stop() == 3
    assert time.monotonic() - begin < 0.5 + 2 + 5
    assert census.alive() == []
    assert site.lines()[-2:] == ["caught 1 Cancelled", "cleanup 1"]
    assert not directory.exists()
    assert state(item_id) == (State.WAITING, 0, 0)


@pytest.mark.parametrize("name", ["command", "acommand"])
def test_a_cancel_ends_the_family_within_the_grace_and_the_next_item_runs(
    site: Site, census: Census, name: str
) -> None:
    queue = getattr(queues, name)
    runner = site.runner(env=QUICK).serving()
    item_id = queue.push({"n": 1, "argv": large_family(census)})
    started(site, 1)
    all_there(census)
    with get_store().admin() as admin:
        admin.request_cancel(item_id, by="test")
    site.said("caught 1 Cancel")
    census.shrinks_to(0, 2)
    queue.push({"n": 2, "argv": ["true"]})
    site.said("start 2")
    assert runner.stop() == 0
    assert not any("SIGKILL" in line for line in runner.log), runner.log
    assert state(item_id) == (State.CANCELLED, 0, 0)


@pytest.mark.parametrize("whom", ["worker", "master", "fork server"])
def test_whoever_is_killed_the_family_ends_and_the_item_runs_again(site: Site, census: Census, whom: str) -> None:
    item_id = queues.command.push({"n": 1, "argv": large_family(census)})
    runner = site.runner().serving()
    worker = started(site, 1)
    all_there(census)
    family_before = census.alive()
    victims = {"worker": worker, "master": runner.pid, "fork server": psutil.Process(worker).ppid()}
    os.kill(victims[whom], signal.SIGKILL)
    if whom == "master":
        runner.end()
        until(lambda: not census.alive(), "the family to end", 5)
        runner = site.runner().serving()
    until(lambda: not any(member.is_running() for member in family_before), "the family to end", 10)
    until(lambda: sum(line.startswith("start 1 ") for line in site.lines()) == 2, "the second run")
    all_there(census)
    runner.send(signal.SIGQUIT)
    assert runner.end() == 0
    assert census.alive() == []
    assert state(item_id) == (State.WAITING, 0, 1)


def test_what_outlived_a_whole_runner_is_ended_by_the_next(site: Site, census: Census) -> None:
    """Everything of the runner is stopped, so that it can do nothing, and then killed."""
    queues.command.push({"n": 1, "argv": large_family(census)})
    runner = site.runner().serving()
    worker = psutil.Process(started(site, 1))
    all_there(census)
    before = census.alive()
    ours = [psutil.Process(runner.pid), psutil.Process(worker.ppid()), worker]
    for member in ours:
        member.suspend()
    for member in ours:
        member.kill()
    runner.end()
    assert any(member.is_running() for member in before)
    again = site.runner().serving()
    until(lambda: not any(member.is_running() for member in before), "the family to end", 5)
    again.send(signal.SIGQUIT)
    assert again.end() == 0
    assert census.alive() == []


def test_a_thread_that_the_job_did_not_wait_for_ends_with_the_job(site: Site, census: Census) -> None:
    runner = site.runner().serving()
    queues.command.push({"n": 1, "argv": large_family(census), "thread": True})
    site.said("cleanup 1")
    census.shrinks_to(0, 5)
    queues.command.push({"n": 2, "argv": ["true"]})
    site.said("cleanup 2")
    assert runner.stop() == 0


def test_what_a_handler_started_by_itself_ends_with_its_worker(site: Site, census: Census) -> None:
    runner = site.runner().serving()
    queues.command.push({"n": 1, "argv": census.sleeper(), "bare": True})
    site.said("cleanup 1")
    census.grows_to(1)
    queues.command.push({"n": 2, "argv": ["true"]})
    site.said("cleanup 2")
    assert len(census.alive()) == 1, "it may be a helper of several jobs"
    assert runner.stop() == 0
    assert census.alive() == []


def test_many_jobs_with_leavings_leave_no_zombie_and_no_descriptor_in_their_worker(site: Site, census: Census) -> None:
    runner = site.runner().serving()
    leavings = [family(census.name, "session"), family(census.name, "child"), "setsid true &", "sleep 0.01"]
    leaving = ["sh", "-c", "\n".join(leavings)]
    queues.command.push({"n": 0, "argv": leaving})
    site.said("cleanup 0")
    worker = started(site, 0)
    before = psutil.Process(worker).num_fds()
    for n in range(1, 30):
        queues.command.push({"n": n, "argv": leaving})
    site.said("cleanup 29")
    queues.command.push({"n": 30, "argv": ["true"]})
    site.said("cleanup 30")
    process = psutil.Process(worker)
    assert process.children() == []
    assert process.num_fds() <= before + 1, "the first count may have met one that is being closed"
    assert census.alive() == []
    assert runner.stop() == 0
