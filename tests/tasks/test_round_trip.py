"""From enqueue to the result, on every store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from django_graceful.compat import TaskResultStatus, task_backends
from tests.harness import until
from tests.tasks import jobs
from tests.tasks.bench import WORKER, Bench
from tests.tasks.conftest import tasks_setting

EVERY_STORE = pytest.mark.parametrize("bench", ["memory", "leveldb", "redis"], indirect=True)
READY, RUNNING = TaskResultStatus.READY, TaskResultStatus.RUNNING
FAILED, SUCCESSFUL = TaskResultStatus.FAILED, TaskResultStatus.SUCCESSFUL


@EVERY_STORE
def test_a_task_is_ready_then_successful_with_its_value_and_times(bench: Bench) -> None:
    before = timezone.now() - timedelta(milliseconds=1)
    result = jobs.add.enqueue(1, b=2)
    again = jobs.add.get_result(result.id)
    assert again == result
    assert (result.status, result.args, result.kwargs, result.backend) == (READY, [1], {"b": 2}, "default")
    assert (result.started_at, result.finished_at, result.last_attempted_at) == (None, None, None)
    assert (result.errors, result.worker_ids, result.attempts, len(result.id)) == ([], [], 0, 32)
    assert bench.run() == 1
    result.refresh()
    assert (result.status, result.return_value, result.is_finished) == (SUCCESSFUL, 3, True)
    assert (result.worker_ids, result.errors) == ([WORKER], [])
    times = [before, result.enqueued_at, result.started_at, result.finished_at, timezone.now() + timedelta(seconds=1)]
    assert times == sorted(times)  # type: ignore[type-var]
    assert result.last_attempted_at == result.started_at


@EVERY_STORE
def test_a_task_that_raised_is_failed_with_its_error(bench: Bench) -> None:
    result = jobs.raise_it.enqueue("oops")
    bench.run()
    result.refresh()
    assert (result.status, result.attempts) == (FAILED, 1)
    (error,) = result.errors
    assert error.exception_class is ValueError
    assert "oops" in error.traceback
    assert "raise_it" in error.traceback
    assert None not in (result.started_at, result.finished_at, result.last_attempted_at)
    with pytest.raises(ValueError, match="Task failed"):
        _ = result.return_value


@EVERY_STORE
def test_a_retry_is_ready_again_with_its_error_kept_and_then_successful(bench: Bench, settings: Any) -> None:
    settings.TASKS = tasks_setting(MAX_ATTEMPTS=3, BACKOFF=0)
    result = jobs.fail_first.enqueue(2)
    bench.run(1)
    result.refresh()
    assert (result.status, result.attempts, len(result.errors), result.finished_at) == (READY, 1, 1, None)
    started = result.started_at
    assert started is not None
    bench.run()
    result.refresh()
    assert (result.status, result.return_value, result.attempts) == (SUCCESSFUL, 3, 3)
    assert [error.exception_class for error in result.errors] == [ValueError, ValueError]
    assert (result.started_at, result.worker_ids) == (started, [WORKER] * 3)
    assert result.last_attempted_at is not None
    assert result.last_attempted_at >= started


@EVERY_STORE
def test_a_running_task_says_since_when_and_where(bench: Bench) -> None:
    result = jobs.add.enqueue(1)
    before = timezone.now() - timedelta(seconds=1)
    owner = bench.own()
    try:
        (lease,) = owner.lease("tasks:default", 1, WORKER)
        found = owner.get(result.id)
        assert found is not None
        from django_graceful.tasks.results import from_item

        seen = from_item(found)
        assert (seen.status, seen.worker_ids, seen.attempts) == (RUNNING, [WORKER], 1)
        assert seen.started_at is not None
        assert before <= seen.started_at <= timezone.now() + timedelta(seconds=1)
        assert seen.last_attempted_at == seen.started_at
        assert owner.finish([lease.execution]) == set()
    finally:
        owner.close()


@EVERY_STORE
def test_a_cancelled_task_is_failed_with_task_cancelled(bench: Bench) -> None:
    result = jobs.add.enqueue(1)
    assert task_backends["default"].cancel(result.id, by="eve", reason="enough") == "cancelled"
    assert bench.run() == 0
    result.refresh()
    assert result.status is FAILED
    assert result.errors[-1].exception_class_path == "django_graceful.exceptions.TaskCancelled"
    assert issubclass(result.errors[-1].exception_class, Exception)
    assert result.errors[-1].traceback == "cancelled by eve: enough"
    assert task_backends["default"].cancel(result.id) == "unknown"


@EVERY_STORE
def test_the_order_is_priority_then_time_of_enqueueing(bench: Bench) -> None:
    for n, priority in ((1, 0), (2, -100), (3, 100), (4, 0), (5, 100)):
        jobs.add.using(priority=priority).enqueue(n)
    bench.run()
    assert [a for a, _ in jobs.calls] == [3, 5, 1, 4, 2]


@EVERY_STORE
def test_a_task_with_run_after_waits(bench: Bench) -> None:
    later = timezone.now() + timedelta(hours=1)
    result = jobs.add.using(run_after=later).enqueue(1)
    jobs.add.using(run_after=timezone.now() - timedelta(hours=1)).enqueue(2)
    assert bench.run() == 1
    assert jobs.calls == [(2, 1)]
    again = jobs.add.get_result(result.id)
    assert again.status is READY
    assert again.task.run_after == later.astimezone(UTC)


def test_run_after_may_be_a_timedelta(bench: Bench) -> None:
    task = jobs.add.using(run_after=timedelta(hours=2))  # type: ignore[arg-type]
    assert isinstance(task.run_after, datetime)
    assert timedelta(hours=1.9) < task.run_after - timezone.now() <= timedelta(hours=2)
    task.enqueue(1)
    assert bench.run() == 0


def test_an_async_task_runs(bench: Bench) -> None:
    result = jobs.add_async.enqueue(2, b=3)
    bench.run()
    result.refresh()
    assert result.return_value == 5


def test_the_context_has_attempt_status_and_workers(bench: Bench) -> None:
    result = jobs.tell_context.enqueue(word="x")
    bench.run()
    result.refresh()
    assert result.return_value == {"attempt": 1, "status": "RUNNING", "workers": [WORKER], "word": "x"}


@pytest.mark.parametrize(("what", "value"), [("bytes", "é"), ("tuple", [1, [2]])])
def test_a_value_is_made_json(bench: Bench, what: str, value: Any) -> None:
    result = jobs.return_it.enqueue(what)
    bench.run()
    result.refresh()
    assert result.return_value == value


def test_a_value_that_is_no_json_is_failed_at_once_and_says_why(bench: Bench, settings: Any) -> None:
    settings.TASKS = tasks_setting(MAX_ATTEMPTS=3, BACKOFF=0)
    result = jobs.return_it.enqueue("set")
    assert bench.run() == 1
    result.refresh()
    assert (result.status, result.attempts) == (FAILED, 1)
    assert result.errors[-1].exception_class is TypeError
    assert "Unsupported type" in result.errors[-1].traceback


def test_a_value_that_is_too_large_is_failed_and_says_what_to_do(bench: Bench, settings: Any) -> None:
    settings.TASKS = tasks_setting(MAX_RESULT=1000)
    result = jobs.return_it.enqueue("long")
    bench.run()
    result.refresh()
    assert result.errors[-1].exception_class_path == "django_graceful.exceptions.ResultTooLarge"
    assert "2002 bytes of JSON, MAX_RESULT allows 1000" in result.errors[-1].traceback


@pytest.mark.parametrize(("name", "kind"), [("exit", SystemExit), ("interrupt", KeyboardInterrupt)])
def test_what_ends_a_program_is_the_tasks_failure(bench: Bench, name: str, kind: type) -> None:
    result = jobs.raise_it.enqueue(name)
    after = jobs.add.enqueue(1)
    assert bench.run() == 2
    result.refresh()
    after.refresh()
    assert (result.status, result.errors[-1].exception_class, after.status) == (FAILED, kind, SUCCESSFUL)


def test_discard_is_failed_without_a_retry(bench: Bench, settings: Any) -> None:
    settings.TASKS = tasks_setting(MAX_ATTEMPTS=3, BACKOFF=0)
    result = jobs.raise_it.enqueue("discard")
    assert bench.run() == 1
    result.refresh()
    assert (result.status, result.errors[-1].exception_class_path) == (FAILED, "django_graceful.exceptions.Discard")


def test_results_are_kept_for_their_time_and_pruned_by_the_runner(bench: Bench, settings: Any) -> None:
    settings.TASKS = tasks_setting(RESULT_TTL=0)
    result = jobs.add.enqueue(1)
    bench.run()
    with pytest.raises(Exception, match=result.id) as caught:
        result.refresh()
    assert type(caught.value).__name__ == "TaskResultDoesNotExist"
    settings.TASKS = tasks_setting(RESULT_TTL=0.001)
    short = jobs.add.enqueue(2)
    bench.run()
    owner = bench.own()
    until(lambda: owner.result(short.id) is None, "the result to expire")
    owner.sweep()
    kv = owner._core.kv  # type: ignore[attr-defined]
    assert [*kv.scan(b"E", b"F"), *kv.scan(b"T", b"U")] == []  # results and their expiry
    owner.close()
