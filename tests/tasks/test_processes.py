"""Tasks under a real runner: what happens to them when it stops, when a worker dies, and when somebody cancels."""

from __future__ import annotations

import os
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from django_graceful.compat import TaskResultStatus, task_backends
from django_graceful.stores import close_stores
from tests.harness import Site, numbers, until
from tests.redis.kit import add_cache, cache_setting, server
from tests.redis.site import RedisSite
from tests.tasks import jobs

pytestmark = pytest.mark.process

FAILED, SUCCESSFUL = TaskResultStatus.FAILED, TaskResultStatus.SUCCESSFUL


def finished(result: Any) -> Any:
    """The result, when its task has finished."""

    def look() -> Any:
        result.refresh()
        return result.is_finished

    until(look, f"the end of {result.task.name}")
    return result


def test_a_stop_lets_a_task_finish_and_whatever_dies_is_run_again(site: Site) -> None:
    runner = site.runner().serving()
    for name, kind in (("exit", SystemExit), ("interrupt", KeyboardInterrupt)):
        result = finished(jobs.raise_it.enqueue(name))
        assert (result.status, result.errors[-1].exception_class) == (FAILED, kind)
    died = finished(jobs.die.enqueue(7))
    assert (died.status, died.return_value, died.attempts) == (SUCCESSFUL, 7, 2)
    assert died.errors[0].exception_class_path == "django_graceful.exceptions.TaskInterrupted"
    assert "unknown" not in died.worker_ids
    killed = jobs.until_stopped.enqueue(1)
    site.said("start 1")
    os.kill(int(site.lines()[-1].split()[2]), signal.SIGKILL)
    until(lambda: Counter(numbers(site.lines(), "start"))["1"] == 2, "its second run")
    killed.refresh()
    assert (killed.status, killed.attempts) == (TaskResultStatus.RUNNING, 2)
    queued = jobs.slow.using(priority=-5).enqueue(2, 0.3)
    site.said("start 2")
    assert runner.stop(signal.SIGTERM) == 0
    for result, value in ((killed, "orderly"), (queued, 2)):  # read with no runner
        result.refresh()
        assert (result.status, result.return_value) == (SUCCESSFUL, value)


def test_a_running_task_is_cancelled_or_timed_out_and_says_so(site: Site) -> None:
    runner = site.runner(env={"GRACEFUL_TEST_EXTRA": '{"CANCEL_GRACE": 5}'}).serving()
    sync, coroutine = jobs.slow.enqueue(1, 60), jobs.sleep_async.enqueue(2)
    late = replace(jobs.slow, timeout=0.3).enqueue(3, 60)  # type: ignore[call-arg]
    for n in (1, 2):
        site.said(f"start {n}")
    for result in (sync, coroutine):
        assert task_backends["default"].cancel(result.id, by="eve", reason="enough") == "asked"
        finished(result)
        assert result.status is FAILED
        assert result.errors[-1].exception_class_path == "django_graceful.exceptions.TaskCancelled"
        assert "by eve: enough" in result.errors[-1].traceback
    assert "cleaned 2" in site.lines()
    finished(late)
    assert late.errors[-1].exception_class_path == "django_graceful.exceptions.TaskTimedOut"
    assert not [line for line in site.lines() if line.startswith("end")]
    assert runner.stop() == 0
    assert any("state=FAILED" in line for line in runner.log)


def test_a_queue_that_the_settings_lost_is_set_aside_and_comes_back(site: Site) -> None:
    result = jobs.mail.enqueue("eve")
    env = {"GRACEFUL_TEST_TASK_QUEUES": '["default"]'}
    runner = site.runner(env=env).serving()
    finished(result)
    assert result.errors[-1].exception_class_path == "django_graceful.exceptions.TaskUnusable"
    assert "put the part after the colon into QUEUES" in result.errors[-1].traceback
    assert runner.stop() == 0
    site.runner("--drain").end()
    result.refresh()
    assert (result.status, result.return_value) == (SUCCESSFUL, "eve")


def test_three_runners_run_each_of_a_hundred_tasks_once(tmp_path: Path, settings: Any) -> None:
    space = uuid4().hex[:8]
    add_cache("tasks-shared", cache_setting(server().url, space))
    settings.GRACEFUL = {
        "STORES": {"default": {"BACKEND": "redis", "ALIAS": "tasks-shared", "RUNTIME": tmp_path / "r"}}
    }
    site = RedisSite(tmp_path, server().url, space, {})
    try:
        runners = [site.runner(env=site.through(server().url, f"host{n}")) for n in range(3)]
        for runner in runners:
            runner.serving()
        found = [jobs.slow.enqueue(n, 0.02) for n in range(100)]
        assert [finished(result).return_value for result in found] == list(range(100))
        assert Counter(numbers(site.lines(), "start")) == {str(n): 1 for n in range(100)}
        assert len({result.worker_ids[0] for result in found}) > 1
        assert [runner.stop() for runner in runners] == [0, 0, 0]
    finally:
        site.cleanup()
        close_stores()
