"""What one task says for itself, and what the settings say: attempts, time limits, uniqueness."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import pytest
from django.core.checks.registry import registry
from django.core.exceptions import ImproperlyConfigured

from django_graceful.checks import check_tasks_framework
from django_graceful.compat import TaskResultStatus, task_backends
from django_graceful.items import State
from django_graceful.queues import get_queue
from django_graceful.runner.slate import Why
from django_graceful.tasks.settings import TaskConf, read
from tests.tasks import jobs
from tests.tasks.bench import WORKER, Bench
from tests.tasks.conftest import tasks_setting

READY, FAILED = TaskResultStatus.READY, TaskResultStatus.FAILED
EVERY_STORE = pytest.mark.parametrize("bench", ["memory", "leveldb", "redis"], indirect=True)


def with_policy(task: Any, **policy: Any) -> Any:
    return replace(task, **policy)


def test_a_task_fails_at_once_unless_something_is_said(bench: Bench) -> None:
    result = jobs.raise_it.enqueue("x")
    assert bench.run() == 1
    result.refresh()
    assert result.status is FAILED


@pytest.mark.parametrize("how", ["decorator", "settings", "options", "queues"])
def test_attempts_are_said_by_the_task_its_settings_the_backend_or_the_queue(
    bench: Bench, settings: Any, how: str
) -> None:
    options: dict[str, Any] = {"BACKOFF": 0}
    task = jobs.raise_it
    if how == "decorator":
        options["MAX_ATTEMPTS"] = 9
        task = with_policy(task, max_attempts=3)
    elif how == "settings":
        options |= {"MAX_ATTEMPTS": 9, "TASKS": {"tests.tasks.jobs.raise_it": {"MAX_ATTEMPTS": 3}}}
    elif how == "options":
        options["MAX_ATTEMPTS"] = 3
    else:
        settings.GRACEFUL = {**settings.GRACEFUL, "QUEUES": {"tasks:default": {"MAX_ATTEMPTS": 3}}}
    settings.TASKS = tasks_setting(**options)
    result = task.enqueue("x")
    assert bench.run() == 3
    result.refresh()
    assert (result.status, result.attempts, len(result.errors)) == (FAILED, 3, 3)


def test_retry_counts_as_an_attempt(bench: Bench, settings: Any) -> None:
    settings.TASKS = tasks_setting(MAX_ATTEMPTS=2, BACKOFF=0)
    result = jobs.raise_it.enqueue("retry")
    assert bench.run() == 2
    result.refresh()
    assert (result.status, result.errors[-1].exception_class_path) == (FAILED, "django_graceful.exceptions.Retry")


def test_a_task_that_was_told_to_stop_for_the_time_is_timed_out(bench: Bench, heard: list[Any]) -> None:
    result = with_policy(jobs.raise_it, timeout=2.5).enqueue("x")
    bench.asked = Why.TIMEOUT
    bench.run()
    result.refresh()
    assert (result.status, result.attempts) == (FAILED, 1)
    assert result.errors[-1].exception_class_path == "django_graceful.exceptions.TaskTimedOut"
    assert result.worker_ids == [WORKER]
    assert heard[-1][0::2] == ("finished", "FAILED")


def test_a_task_that_a_shutdown_stopped_is_ready_again_and_nothing_is_counted(bench: Bench, heard: list[Any]) -> None:
    result = jobs.raise_it.enqueue("x")
    bench.asked = Why.SHUTDOWN
    bench.run(1)
    result.refresh()
    assert (result.status, result.attempts, result.errors) == (READY, 0, [])
    assert [name for name, _, _ in heard] == ["enqueued", "started"]


def test_a_task_that_was_cancelled_while_it_ran_is_failed(bench: Bench, heard: list[Any]) -> None:
    result = jobs.raise_it.enqueue("x")
    bench.asked = Why.CANCEL
    bench.run()
    result.refresh()
    assert (result.status, len(result.errors)) == (FAILED, 1)
    assert result.errors[-1].exception_class_path == "django_graceful.exceptions.TaskCancelled"
    assert heard[-1][0::2] == ("finished", "FAILED")


@EVERY_STORE
@pytest.mark.parametrize("unique", [True, "queued", "finished"])
def test_a_unique_task_is_there_once_and_both_results_lead_to_it(bench: Bench, unique: Any) -> None:
    task = with_policy(jobs.add, unique=unique)
    one, same, other = task.enqueue(1, b=2), task.enqueue(1, b=2), task.enqueue(1, b=3)
    assert bench.run() == 2
    assert sorted(jobs.calls) == [(1, 2), (1, 3)]
    for result in (one, same, other):
        found = jobs.add.get_result(result.id)
        assert found.return_value == 1 + found.kwargs["b"]
    assert jobs.add.get_result(same.id).finished_at == jobs.add.get_result(one.id).finished_at


def test_unique_may_be_said_for_all_and_taken_back_by_one(bench: Bench, settings: Any) -> None:
    settings.TASKS = tasks_setting(UNIQUE=True, TASKS={"tests.tasks.jobs.add": {"UNIQUE": False}})
    for _ in range(2):
        jobs.add.enqueue(1)
        jobs.mail.enqueue("eve")
    assert bench.run() == 3


def test_wrong_options_are_errors_that_name_them(bench: Bench, settings: Any) -> None:
    settings.TASKS = tasks_setting(MAX_ATEMPTS=3, TIMEOUT="x", ENQUEUE_ON_COMMIT="replica", RESULT_TTL=-1, STORE="no")
    found = task_backends["default"].check()
    assert {"django_graceful.E030", "django_graceful.E031"} == {message.id for message in found}
    texts = [str(m.msg) for m in found if m.id == "django_graceful.E030"]
    assert any("['MAX_ATEMPTS'] is not known (did you mean 'MAX_ATTEMPTS'?)" in text for text in texts)
    assert any("ENQUEUE_ON_COMMIT" in text and "'replica'" in text for text in texts)
    assert len(texts) == 4
    with pytest.raises(ImproperlyConfigured, match="MAX_ATEMPTS"):
        jobs.add.enqueue(1)


@pytest.mark.parametrize(
    ("raw", "where"),
    [
        ([], "['OPTIONS']"),
        ({"TASKS": []}, "['TASKS']"),
        ({"TASKS": {"a.b": 3}}, "['a.b']"),
        ({"TASKS": {"a.b": {"STORE": "x"}}}, "['STORE']"),
        ({"TASKS": {"a.b": {"TIMEOUT": 0}}}, "['TIMEOUT']"),
        ({"MAX_RESULT": "1"}, "['MAX_RESULT']"),
        ({"BATCH_LENGTH": 5}, "['BATCH_LENGTH']"),
    ],
)
def test_every_fault_says_where(raw: Any, where: str) -> None:
    conf, faults = read("default", raw)
    assert isinstance(conf, TaskConf)
    (fault,) = faults
    assert fault.where.endswith(where)


def test_a_good_configuration_has_no_faults(bench: Bench, settings: Any, tmp_path: Any) -> None:
    settings.GRACEFUL = {"STORES": {"default": {"BACKEND": "leveldb", "PATH": tmp_path / "s"}}}
    assert [*task_backends["default"].check(), *check_tasks_framework(None)] == []
    assert "check_tasks" in [check.__name__ for check in registry.registered_checks]  # so Django asks the backend


def test_a_framework_that_is_missing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "django_graceful.compat")
    (error,) = check_tasks_framework(None)
    assert (error.id, "backport" in str(error.hint)) == ("django_graceful.E033", True)


def test_a_memory_store_and_an_immediate_queue_are_said(bench: Bench, settings: Any) -> None:
    settings.GRACEFUL = {**settings.GRACEFUL, "QUEUES": {"tasks:default": {"IMMEDIATE": True}}}
    get_queue("tasks:default")
    assert {"django_graceful.W030", "django_graceful.E032"} == {m.id for m in task_backends["default"].check()}
    with pytest.raises(ImproperlyConfigured, match="ImmediateBackend"):
        jobs.add.enqueue(1)


def test_a_dead_task_that_a_person_retries_is_ready_with_its_errors(bench: Bench) -> None:
    result = jobs.raise_it.enqueue("x")
    bench.run()
    owner = bench.own()
    assert owner.retry("tasks:default") == 1
    owner.close()
    result.refresh()
    assert (result.status, len(result.errors), result.finished_at) == (READY, 1, None)
    owner = bench.own()
    assert owner.discard("tasks:default", State.WAITING) == 1
    owner.close()
    with pytest.raises(Exception, match=result.id):
        task_backends["default"].get_result(result.id)
