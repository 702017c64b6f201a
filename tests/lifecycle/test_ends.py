"""Ends that the signal matrix has no cell for: signals that follow each other, ``--drain``, and Django's setup."""

from __future__ import annotations

import re
import signal
import time

import pytest

from django_graceful.stores import get_store
from tests.harness import Runner, Site, until
from tests.site import queues

pytestmark = pytest.mark.process

TERM = signal.SIGTERM


def waiting() -> int:
    with get_store().admin(alone=True) as admin:
        return sum(counts.waiting for counts in admin.counts().values())


def taken(runner: Runner, name: str, times: int) -> None:
    """Wait until the runner has taken that many of this signal."""
    until(lambda: sum(f"{name} received" in line for line in runner.log) == times, f"{times} {name} to be taken")


def numbers(runner: Runner) -> dict[str, int]:
    """The last summary line, by word."""
    line = [line for line in runner.log if "stopped after" in line][-1]
    return {word: int(number) for number, word in re.findall(r"(\d+) ([a-z][a-z ]*)", line.partition("s: ")[2])}


def test_a_second_term_as_soon_as_the_first_is_taken_hammers(site: Site) -> None:
    queues.single.push({"n": 1, "seconds": 60})
    runner = site.runner("--strict-exit").serving()
    site.said("start 1")
    begin = time.monotonic()
    runner.send(TERM)
    taken(runner, "SIGTERM", 1)
    runner.send(TERM)
    assert runner.end() == 3
    assert time.monotonic() - begin < 10  # HAMMER_AFTER is 25
    taken(runner, "SIGTERM", 2)


def test_signals_of_different_kinds_all_count_however_late_they_are_taken(site: Site) -> None:
    queues.stubborn.push({"n": 1})
    runner = site.runner("--strict-exit", env={"GRACEFUL_TEST_EXTRA": '{"KILL_AFTER": 0.1}'}).serving()
    site.said("start 1")
    runner.send(signal.SIGSTOP)
    until(lambda: runner.family()[0].status() == "stopped", "the runner to stop")
    runner.send(TERM)
    runner.send(signal.SIGINT)
    runner.send(signal.SIGCONT)
    begin = time.monotonic()
    assert runner.end() == 4
    assert time.monotonic() - begin < 10
    taken(runner, "SIGTERM", 1)
    taken(runner, "SIGINT", 1)


def test_term_during_a_drain_of_the_queues_keeps_what_was_not_begun(site: Site) -> None:
    queues.single.push_many({"n": n, "seconds": 0.5 if n == 0 else 0.0} for n in range(10))
    runner = site.runner("--drain", "--strict-exit")
    site.said("start 0")
    assert runner.stop() == 0
    assert waiting() == 9
    found = numbers(runner)
    assert (found["done"], found["killed"], found["waiting"]) == (1, 0, 9)
    assert site.runner("--drain").end() == 0
    assert waiting() == 0


def test_term_after_hup_ends_the_runner_in_the_time_of_the_drain_and_starts_nothing_again(site: Site) -> None:
    queues.single.push({"n": 1, "seconds": 1.0})
    runner = site.runner("--strict-exit").serving()
    site.said("start 1")
    runner.send(signal.SIGHUP)
    taken(runner, "SIGHUP", 1)
    runner.send(TERM)
    assert runner.end() == 0
    assert "end 1" in site.lines()
    assert not any("again in place" in line or "hammer:" in line for line in runner.log)


def test_hup_while_it_drains_neither_hastens_nor_restarts(site: Site) -> None:
    queues.single.push({"n": 1, "seconds": 1.0})
    runner = site.runner("--strict-exit").serving()
    site.said("start 1")
    runner.send(TERM)
    taken(runner, "SIGTERM", 1)
    runner.send(signal.SIGHUP)
    assert runner.end() == 0
    assert "end 1" in site.lines()
    assert not any("again in place" in line for line in runner.log)


def test_a_job_sees_no_time_left_once_a_second_signal_has_hammered(site: Site) -> None:
    queues.left.push({"n": 1})
    runner = site.runner().serving()
    site.said("start 1")
    runner.send(TERM)
    site.said("left 2")
    runner.send(TERM)
    assert runner.end() == 0
    assert site.lines()[-1] == "left 0.0"


def test_term_while_python_and_django_are_set_up_ends_the_process_and_loses_nothing(site: Site) -> None:
    """By the signal's default action: nothing of ours is loaded yet, and nothing is open."""
    queues.record.push(1)
    runner = site.runner()
    runner.send(TERM)
    assert runner.end() in (-TERM, 0)
    assert site.lines() == []
    assert site.runner("--drain").end() == 0
    assert site.lines() == ["record 1"]


def test_an_order_to_shut_down_by_the_control_socket_ends_in_the_same_way(site: Site) -> None:
    queues.single.push({"n": 1, "seconds": 60})
    limits = '{"HAMMER_AFTER": 0.3, "KILL_AFTER": 0.3}'
    runner = site.runner("--strict-exit", env={"GRACEFUL_TEST_EXTRA": limits}).serving()
    site.said("start 1")
    assert site.manage("graceful", "shutdown").returncode == 0
    assert runner.end() == 3
    assert waiting() == 1
