"""Hooks in the workers of a real runner, registered by an app at import and by handlers."""

from __future__ import annotations

import signal
import time
from typing import Any

import psutil
import pytest

from tests.harness import Runner, Site, until
from tests.site import hooks, queues

pytestmark = pytest.mark.process

LIMITS = '{"HAMMER_AFTER": 0.6, "KILL_AFTER": 0.5}'
HOOKS = {"GRACEFUL_TEST_HOOKS": "1", "GRACEFUL_TEST_EXTRA": LIMITS}


def heard(site: Site) -> list[str]:
    return [line.removeprefix("hook ") for line in site.lines() if line.startswith("hook ")]


def working(site: Site, payload: dict[str, Any], **env: str) -> Runner:
    """A runner whose worker is in the middle of a job that has registered hooks."""
    runner = site.runner(env=HOOKS | env).serving()
    hooks.hooked.push(payload)
    site.said(f"start {payload['n']}")
    return runner


def test_hooks_of_draining_run_while_the_job_goes_on_and_all_others_in_their_order(site: Site) -> None:
    runner = working(site, {"n": 1, "seconds": 60})
    begin = time.monotonic()
    runner.send(signal.SIGTERM)
    site.said("hook job shutdown")
    assert time.monotonic() - begin < 0.6
    assert "hammer:" not in "\n".join(runner.log)
    site.said("hook import shutdown")
    assert runner.end() == 0
    assert set(heard(site)[:2]) == {"import shutdown True", "job shutdown True"}
    assert set(heard(site)[2:4]) == {"import hammer True", "job hammer True"}
    assert heard(site)[4:] == ["fails", "hangs", "import terminate True", "job terminate True"]


def test_a_hook_that_fails_and_one_that_hangs_are_named_in_the_log(site: Site) -> None:
    runner = working(site, {"n": 1, "seconds": 0.1})
    assert runner.stop() == 0
    runner.says("a hook that fails")
    runner.says("hook the hook that hangs is given up")


def test_the_hammer_of_a_second_signal_is_heard_without_delay(site: Site) -> None:
    runner = working(site, {"n": 1, "seconds": 60}, GRACEFUL_TEST_EXTRA="{}")
    runner.send(signal.SIGTERM)
    site.said("hook job shutdown")
    begin = time.monotonic()
    runner.send(signal.SIGTERM)
    site.said("hook job hammer")
    assert time.monotonic() - begin < 10
    assert runner.end() == 0


def test_hooks_that_a_job_took_away_are_not_called(site: Site) -> None:
    runner = working(site, {"n": 1, "seconds": 0, "cancel": True})
    site.said("end 1")
    assert runner.stop() == 0
    assert not any(line.startswith("job") for line in heard(site))
    assert "import terminate True" in heard(site)


def test_hooks_of_an_app_are_called_in_every_worker_and_never_in_the_master(site: Site) -> None:
    runner = site.runner(env=HOOKS).serving()
    queues.slow.push_many([{"n": n, "seconds": 0.3} for n in range(2)])
    site.said("start 0")
    site.said("start 1")
    assert runner.stop() == 0
    assert heard(site).count("import terminate True") == 2


def test_a_worker_that_leaves_in_peace_calls_only_its_last_hooks(site: Site) -> None:
    site.runner(env=HOOKS | {"GRACEFUL_TEST_EXTRA": '{"WORKER_IDLE": 0.1}'}).serving()
    hooks.hooked.push({"n": 1, "seconds": 0})
    site.said("hook job terminate")
    assert not any("shutdown" in line or "hammer" in line for line in heard(site))


def test_a_worker_without_hooks_has_one_thread_and_with_hooks_two(site: Site) -> None:
    runner = site.runner().serving()
    hooks.counted.push()
    site.said("threads 1")
    hooks.hooked.push({"n": 1, "seconds": 0})
    site.said("end 1 2")
    assert runner.stop() == 0


def test_an_endless_last_hook_does_not_hold_the_runner_beyond_its_limits(site: Site) -> None:
    runner = site.runner(env={"GRACEFUL_TEST_EXTRA": LIMITS}).serving()
    hooks.endless.push()
    site.said("endless")
    family = runner.family()
    begin = time.monotonic()
    runner.send(signal.SIGTERM)
    runner.says("waiting for the last hooks of the worker with pid")
    assert runner.end() == 0
    assert 3 < time.monotonic() - begin < 0.6 + 0.5 + 5 + 10
    assert not psutil.wait_procs(family, timeout=5)[1]
    runner.says("does not come to its end; it is killed")


def test_a_third_signal_cuts_the_last_hooks_short(site: Site) -> None:
    runner = site.runner().serving()
    hooks.endless.push()
    site.said("endless")
    begin = time.monotonic()
    for count in range(1, 4):
        runner.send(signal.SIGTERM)
        until(lambda count=count: sum("SIGTERM" in line for line in runner.log) == count, "it to be taken")  # type: ignore[misc]
    assert runner.end() == 0
    assert time.monotonic() - begin < 10  # well below HAMMER_AFTER + KILL_AFTER = 30
