"""The watchdog of the master's end: it strikes when its time is up, and only then."""

from __future__ import annotations

import signal
import threading
import time

import psutil
import pytest

from django_graceful.runner.watchdog import Watchdog
from tests.harness import Site, until
from tests.site import queues


class Exit:
    """In place of ``os._exit``."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.left = threading.Event()

    def __call__(self, code: int) -> None:
        self.codes.append(code)
        self.left.set()


def test_it_strikes_when_its_time_is_up_and_says_what_was_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    leave = Exit()
    begin = time.monotonic()
    Watchdog(lambda: "the dead disk", leave).arm(0.1)
    assert leave.left.wait(10)
    assert time.monotonic() - begin >= 0.1
    assert leave.codes == [1]
    assert "It waited for the dead disk" in caplog.text
    assert "thread MainThread:" in caplog.text


def test_a_later_word_can_only_make_it_earlier() -> None:
    leave = Exit()
    watchdog = Watchdog(lambda: "", leave)
    assert watchdog.left() == 0
    watchdog.arm(60)
    assert 59 < watchdog.left() <= 60
    watchdog.arm(90)
    assert watchdog.left() <= 60
    watchdog.arm(0.05)
    assert leave.left.wait(10)


def test_disarmed_it_never_strikes_and_its_thread_ends() -> None:
    leave = Exit()
    watchdog = Watchdog(lambda: "", leave)
    watchdog.arm(60)
    watchdog.disarm()
    until(lambda: not any(thread.name == "watchdog" for thread in threading.enumerate()), "its thread to end", 10)
    assert leave.codes == []


def test_it_leaves_even_if_nobody_can_say_what_was_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    leave = Exit()

    def fail() -> str:
        raise RuntimeError("changed size during iteration")

    Watchdog(fail, leave).arm(0)
    assert leave.left.wait(10)
    assert "what can not be told" in caplog.text


def test_it_leaves_even_if_the_log_hangs() -> None:
    leave, never = Exit(), threading.Event()
    Watchdog(lambda: str(never.wait(20)), leave).arm(0)
    assert leave.left.wait(10)
    never.set()


@pytest.mark.process
def test_a_master_whose_loop_is_stuck_ends_in_time_with_everything_below_it(site: Site) -> None:
    limits = '{"HAMMER_AFTER": 0.2, "KILL_AFTER": 0.2}'
    runner = site.runner(env={"GRACEFUL_TEST_EXTRA": limits, "GRACEFUL_TEST_APP": "tests.lifecycle.deadlock"}).serving()
    item = queues.single.push({"n": 1, "seconds": 60})
    site.said("start 1")
    family = runner.family()
    runner.says("the loop is stuck from now on")
    begin = time.monotonic()
    assert runner.stop() == 1
    assert 5 < time.monotonic() - begin < 0.2 + 0.2 + 5 + 2
    runner.says("the runner ends here, by force")
    runner.says(f"It waited for single {item}")
    runner.says("in stuck_disk")
    assert not psutil.wait_procs(family, timeout=5)[1]
    after = site.runner().serving()
    until(lambda: [line.split()[:2] for line in site.lines()].count(["start", "1"]) == 2, "its next run")
    assert after.stop(signal.SIGQUIT) == 0
