"""The countdown of a node that has been asked to stop, and how processes without a parent see it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from django_graceful.lifecycle.countdown import Countdown, countdown
from django_graceful.processes import Process


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr("django_graceful.lifecycle.countdown.time", found)
    return found


@pytest.fixture(autouse=True)
def cleared() -> Iterator[None]:
    yield
    countdown.clear()


def test_nothing_counts_down_until_somebody_asks() -> None:
    fresh = Countdown()
    assert (fresh.running, fresh.remaining, fresh.patience(5)) == (False, None, 5)


def test_what_remains_shrinks_to_nothing_and_never_below(clock: Clock) -> None:
    asked = Countdown()
    asked.start(4, 6)
    clock.now += 3
    assert (asked.running, asked.remaining) == (True, 1)
    clock.now += 3
    assert asked.remaining == 0


def test_an_earlier_moment_counts_and_a_later_one_does_not(clock: Clock) -> None:
    asked = Countdown()
    asked.start(10, 20)
    asked.start(30, 40)
    assert (asked.remaining, asked.patience(100)) == (10, 10)
    asked.start(0, 2)
    assert (asked.remaining, asked.patience(100)) == (0, 1)


def test_a_subprocess_gets_half_of_what_is_left_at_most(clock: Clock) -> None:
    asked = Countdown()
    asked.start(0, 6)
    assert asked.patience(5) == 3
    assert asked.patience(2) == 2
    clock.now += 7
    assert asked.patience(5) == 0


def test_a_process_without_a_parent_sees_the_countdown_of_its_node_and_so_do_those_below(
    clock: Clock, settings: Any
) -> None:
    settings.GRACEFUL = {"KILL_AFTER": 5}
    top = Process("top")
    below = Process("below", top)
    assert [(one.stopping, one.remaining, one.patience) for one in (top, below)] == [(False, None, 5)] * 2
    countdown.start(4, 6)
    assert [(one.stopping, one.remaining, one.patience) for one in (top, below)] == [(True, 4, 3)] * 2
    top.check()  # it drains: nobody has cancelled anything


@pytest.mark.process
def test_a_fork_begins_without_a_countdown() -> None:
    countdown.start(4, 6)
    pid = os.fork()
    if pid == 0:
        os._exit(1 if countdown.running else 0)
    assert os.waitpid(pid, 0)[1] == 0
