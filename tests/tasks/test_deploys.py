"""Code and settings that have moved on since a task was enqueued: it is set aside and says what to do."""

from __future__ import annotations

from typing import Any

import pytest

from django_graceful.compat import TaskResultStatus, task_backends
from django_graceful.exceptions import UnknownQueue
from django_graceful.queues import find_queue, get_queue
from tests.tasks import jobs
from tests.tasks.bench import Bench
from tests.tasks.conftest import tasks_setting

FAILED = TaskResultStatus.FAILED


def enqueued_as(path: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A task of ``jobs.add`` that an older release had under another path."""
    module, _, name = path.rpartition(".")
    with monkeypatch.context() as patch:
        patch.setattr(jobs.add.func, "__module__", module)
        patch.setattr(jobs.add.func, "__qualname__", name)
        return jobs.add.enqueue(1)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("tests.tasks.jobs.gone", "there is no task 'tests.tasks.jobs.gone' (ImportError"),
        ("tests.tasks.moved.add", "ModuleNotFoundError"),
        ("tests.tasks.jobs.plain", "what is there is no task"),
        ("os.system", "what is there is no task"),
    ],
)
def test_a_function_that_is_gone_is_failed_and_says_what_to_do(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, heard: list[Any], path: str, words: str
) -> None:
    result = enqueued_as(path, monkeypatch)
    after = jobs.add.enqueue(2)
    assert bench.run() == 2
    found = task_backends["default"].get_result(result.id)
    assert (found.status, found.task.module_path) == (FAILED, path)
    assert found.errors[-1].exception_class_path == "django_graceful.exceptions.TaskUnusable"
    assert words in found.errors[-1].traceback
    assert "deploy that, and retry this one" in found.errors[-1].traceback
    assert ("finished", "FAILED") in [(name, status) for name, _, status in heard]
    assert jobs.add.get_result(after.id).return_value == 3
    with pytest.raises(ImportError, match="there is no task"):
        found.task.call() if words != "os" else None


def test_a_signature_that_has_changed_is_failed_and_says_what_to_do(bench: Bench) -> None:
    result = jobs.add.enqueue(1, colour="red")
    bench.run()
    result.refresh()
    assert result.status is FAILED
    assert "unexpected keyword argument 'colour'" in result.errors[-1].traceback
    assert "Let it take the old arguments too" in result.errors[-1].traceback
    assert jobs.calls == []


def test_what_somebody_else_pushed_is_dead_and_hurts_nobody(bench: Bench) -> None:
    queue = get_queue("tasks:default")
    item_id = queue.push({"what": "ever"})
    jobs.add.enqueue(1)
    assert bench.run() == 2
    with pytest.raises(Exception, match=item_id):
        task_backends["default"].get_result(item_id)


def test_a_queue_that_tasks_lists_no_more_is_unknown_and_comes_back_with_the_setting(
    bench: Bench, settings: Any
) -> None:
    result = jobs.mail.enqueue("eve")
    assert find_queue("tasks:mail") is not None
    settings.TASKS = tasks_setting("default")
    assert find_queue("tasks:mail") is None
    with pytest.raises(UnknownQueue):
        get_queue("tasks:mail")
    assert task_backends["default"].get_result(result.id).status is TaskResultStatus.READY
    settings.TASKS = tasks_setting("default", "mail")
    assert bench.run() == 1
    assert jobs.mail.get_result(result.id).return_value == "eve"


def test_a_result_can_be_read_when_the_settings_would_refuse_its_task(bench: Bench, settings: Any) -> None:
    result = jobs.add.using(queue_name="old", priority=7).enqueue(1)
    bench.run()
    settings.TASKS = tasks_setting("default")
    found = task_backends["default"].get_result(result.id)
    assert (found.task.queue_name, found.task.priority, found.return_value) == ("old", 7, 2)


@pytest.mark.parametrize("name", ["tasks:", "tasks@:x", "tasks@nobody:x", "taskss:x", "tasks@default", "x:y"])
def test_names_that_are_no_task_queues_are_unknown(bench: Bench, name: str) -> None:
    assert find_queue(name) is None
