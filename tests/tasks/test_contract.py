"""The framework's contract: every member, refusal, signal and log line, as Django's own backends have them."""

from __future__ import annotations

import inspect
import logging
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import django
import pytest
from asgiref.sync import async_to_sync
from django.db import transaction
from django.utils import timezone

from django_graceful.compat import (
    BaseTaskBackend,
    InvalidTask,
    TaskResultDoesNotExist,
    TaskResultStatus,
    task_backends,
)
from django_graceful.exceptions import PayloadTooLarge
from django_graceful.tasks import GracefulBackend, GracefulTask
from tests.tasks import jobs
from tests.tasks.bench import Bench
from tests.tasks.conftest import BACKEND, tasks_setting

LOGGER = "django.tasks" if django.VERSION >= (6, 0) else "django_tasks"


def backend() -> GracefulBackend:
    found = task_backends["default"]
    assert isinstance(found, GracefulBackend)
    return found


def test_it_supports_everything() -> None:
    assert GracefulBackend.supports_defer is True
    assert GracefulBackend.supports_async_task is True
    assert GracefulBackend.supports_get_result is True
    assert GracefulBackend.supports_priority is True
    assert issubclass(GracefulBackend, BaseTaskBackend)
    assert GracefulBackend.task_class is GracefulTask


@pytest.mark.parametrize("name", ["enqueue", "aenqueue", "get_result", "aget_result", "validate_task"])
def test_arguments_have_the_names_of_the_contract(name: str) -> None:
    ours, theirs = (list(inspect.signature(getattr(c, name)).parameters) for c in (GracefulBackend, BaseTaskBackend))
    assert ours == theirs


def test_making_one_reads_nothing_and_its_members_are_there(settings: Any) -> None:
    settings.GRACEFUL = {"STORES": 7}
    made = GracefulBackend(alias="other", params={"BACKEND": BACKEND, "QUEUES": ["a", "b"], "OPTIONS": {"x": 1}})
    assert (made.alias, made.queues, made.options) == ("other", {"a", "b"}, {"x": 1})
    assert GracefulBackend("other", {}).queues == {"default"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"priority": 101}, "priority must be a whole number between -100 and 100"),
        ({"priority": -101}, "priority must be a whole number between -100 and 100"),
        ({"priority": 1.5}, "priority must be a whole number between -100 and 100"),
        ({"priority": "5"}, "priority must be a whole number between -100 and 100, not '5'"),
        ({"run_after": datetime(2030, 1, 1)}, "run_after must be an aware datetime"),  # noqa: DTZ001
        ({"run_after": "soon"}, "run_after must be an aware datetime or a timedelta, not 'soon'"),
        ({"queue_name": "x" * 200}, "1 to 100 printable characters"),
        ({"queue_name": "a\nb"}, "1 to 100 printable characters"),
    ],
)
def test_what_is_refused_when_a_task_is_changed(bench: Bench, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidTask, match=message):
        jobs.add.using(**changes)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("max_attempts", 0, "max_attempts must be a whole number from 1"),
        ("timeout", -1, "timeout must be a number of seconds"),
        ("unique", "always", "unique must be one of"),
    ],
)
def test_a_wrong_policy_is_refused(bench: Bench, option: str, value: Any, message: str) -> None:
    with pytest.raises(InvalidTask, match=message):
        replace(jobs.add, **{option: value})


def test_what_is_refused_when_a_task_is_made(bench: Bench) -> None:
    def local() -> None: ...

    def make(function: Any, **fields: Any) -> Any:
        values = {"priority": 0, "backend": "default", "queue_name": "default", "run_after": None}
        return GracefulTask(func=function, **(values | fields))

    with pytest.raises(InvalidTask, match="Task function must be defined at a module level"):
        make(local)
    with pytest.raises(InvalidTask, match="does not have a first argument of 'context'"):
        make(jobs.plain, takes_context=True)


def test_a_queue_that_tasks_does_not_list_is_refused(bench: Bench, settings: Any) -> None:
    settings.TASKS = tasks_setting("default", "mail")
    jobs.add.using(queue_name="mail")
    with pytest.raises(InvalidTask, match="Queue 'sms' is not valid for backend"):
        jobs.add.using(queue_name="sms")


def test_a_task_is_validated_again_when_it_is_enqueued(bench: Bench, settings: Any) -> None:
    task = jobs.add.using(queue_name="sms")
    settings.TASKS = tasks_setting("default")
    with pytest.raises(InvalidTask, match="Queue 'sms' is not valid"):
        task.enqueue(1)


def test_arguments_that_are_no_json_are_refused_and_nothing_is_queued(bench: Bench) -> None:
    with pytest.raises(TypeError, match="Unsupported type"):
        jobs.add.enqueue(timezone.now())
    assert bench.run() == 0


def test_arguments_arrive_as_json(bench: Bench) -> None:
    result = jobs.add.enqueue((1, 2), b=[b"x"])
    assert (result.args, result.kwargs) == ([[1, 2]], {"b": ["x"]})
    bench.run()
    result.refresh()
    assert result.return_value == [1, 2, "x"]


def test_keys_that_are_numbers_become_text_as_json_has_it(bench: Bench) -> None:
    result = jobs.mail.enqueue({1: "x"})  # type: ignore[arg-type]
    bench.run()
    result.refresh()
    assert result.return_value == {"1": "x"}


def test_too_much_is_refused_with_what_to_do(bench: Bench, settings: Any) -> None:
    settings.GRACEFUL = {**settings.GRACEFUL, "MAX_PAYLOAD": 1000}
    with pytest.raises(PayloadTooLarge, match="MAX_PAYLOAD allows 1000: keep the data elsewhere"):
        jobs.add.enqueue("x" * 2000)


@pytest.mark.parametrize("result_id", ["", "nonsense", "0" * 32, "é" * 32, "0" * 64, None, 7])
def test_unknown_and_malformed_ids_do_not_exist(bench: Bench, result_id: Any) -> None:
    jobs.add.enqueue(1)
    with pytest.raises(TaskResultDoesNotExist):
        backend().get_result(result_id)
    with pytest.raises(TaskResultDoesNotExist):
        async_to_sync(backend().aget_result)(result_id)


def test_a_result_of_another_task_is_a_mismatch(bench: Bench) -> None:
    result = jobs.add.enqueue(1)
    with pytest.raises(Exception, match="Task does not match") as caught:
        jobs.mail.get_result(result.id)
    assert type(caught.value).__name__ == "TaskResultMismatch"


def test_a_value_can_not_be_asked_for_before_the_end(bench: Bench) -> None:
    with pytest.raises(ValueError, match="Task has not finished yet"):
        _ = jobs.add.enqueue(1).return_value


def test_async_callers_enqueue_refresh_and_get_results(bench: Bench, heard: list[tuple[str, Any, str]]) -> None:
    async def enqueue() -> Any:
        return await jobs.add_async.aenqueue(4, b=5)

    async def look(result: Any) -> Any:
        await result.arefresh()
        return await jobs.add_async.aget_result(result.id)

    result = async_to_sync(enqueue)()
    assert heard == [("enqueued", GracefulBackend, "READY")]
    bench.run()
    assert async_to_sync(look)(result).return_value == 9
    assert result.status is TaskResultStatus.SUCCESSFUL


def test_signals_come_from_the_backend_with_the_status_of_the_moment(
    bench: Bench, heard: list[tuple[str, Any, str]]
) -> None:
    jobs.add.enqueue(1)
    assert heard == [("enqueued", GracefulBackend, "READY")]
    bench.run()
    assert [(name, status) for name, _, status in heard[1:]] == [("started", "RUNNING"), ("finished", "SUCCESSFUL")]
    heard.clear()
    jobs.raise_it.enqueue("x")
    bench.run()
    assert [(name, status) for name, _, status in heard[1:]] == [("started", "RUNNING"), ("finished", "FAILED")]
    assert {sender for _, sender, _ in heard} == {GracefulBackend}


def test_a_task_that_will_be_tried_again_has_not_finished(
    bench: Bench, settings: Any, heard: list[tuple[str, Any, str]]
) -> None:
    settings.TASKS = tasks_setting(MAX_ATTEMPTS=2, BACKOFF=0)
    jobs.raise_it.enqueue("x")
    bench.run()
    names = [name for name, _, _ in heard]
    assert names == ["enqueued", "started", "started", "finished"]


def test_the_log_lines_are_djangos(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, LOGGER)
    good, bad = jobs.add.enqueue(1), jobs.raise_it.enqueue("why")
    bench.run()
    lines = [(r.levelname, r.getMessage()) for r in caplog.records if r.name == LOGGER]
    path = "path=tests.tasks.jobs."
    assert lines == [
        ("DEBUG", f"Task id={good.id} {path}add enqueued backend=default"),
        ("DEBUG", f"Task id={bad.id} {path}raise_it enqueued backend=default"),
        ("INFO", f"Task id={good.id} {path}add state=RUNNING"),
        ("INFO", f"Task id={good.id} {path}add state=SUCCESSFUL"),
        ("INFO", f"Task id={bad.id} {path}raise_it state=RUNNING"),
        ("ERROR", f"Task id={bad.id} {path}raise_it state=FAILED"),
    ]
    last = caplog.records[-1] if caplog.records[-1].name == LOGGER else caplog.records[-2]
    assert last.exc_info is not None
    assert str(last.exc_info[1]) == "why"


def test_a_receiver_that_raises_changes_nothing(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    from django_graceful.compat import task_started

    def broken(**kwargs: Any) -> None:
        raise RuntimeError("a broken receiver")

    task_started.connect(broken)
    try:
        result = jobs.add.enqueue(1)
        bench.run()
    finally:
        task_started.disconnect(broken)
    result.refresh()
    assert result.status is TaskResultStatus.SUCCESSFUL
    assert "a broken receiver" in caplog.text


def test_tasks_are_enqueued_at_once_inside_of_a_transaction(bench: Bench, django_db_blocker: Any) -> None:
    with django_db_blocker.unblock(), transaction.atomic():
        result = jobs.add.enqueue(1)
        assert jobs.add.get_result(result.id).status is TaskResultStatus.READY


@pytest.mark.parametrize("on_commit", [True, "default"])
def test_enqueue_on_commit_waits_for_the_commit_and_a_rollback_forgets_it(
    bench: Bench, settings: Any, django_db_blocker: Any, heard: list[tuple[str, Any, str]], on_commit: bool | str
) -> None:
    settings.TASKS = tasks_setting(ENQUEUE_ON_COMMIT=on_commit)
    with django_db_blocker.unblock():
        with transaction.atomic():
            result = jobs.add.enqueue(1)
            assert result.status is TaskResultStatus.READY
            assert heard == []
            with pytest.raises(TaskResultDoesNotExist):
                jobs.add.get_result(result.id)
        assert [name for name, _, _ in heard] == ["enqueued"]
        assert jobs.add.get_result(result.id) == result
        with transaction.atomic():
            rolled = jobs.add.enqueue(2)
            transaction.set_rollback(True)
        outside = jobs.add.enqueue(3)
    with pytest.raises(TaskResultDoesNotExist):
        jobs.add.get_result(rolled.id)
    assert bench.run() == 2
    assert jobs.add.get_result(outside.id).return_value == 4


def test_two_backends_have_their_own_queues_and_results(bench: Bench, settings: Any) -> None:
    settings.TASKS = tasks_setting() | {"other": {"BACKEND": BACKEND, "QUEUES": [], "OPTIONS": {"MAX_ATTEMPTS": 2}}}
    one, other = jobs.add.enqueue(1), jobs.add.using(backend="other").enqueue(2)
    with pytest.raises(TaskResultDoesNotExist):
        backend().get_result(other.id)
    owner = bench.own()
    assert set(owner.counts()) == {"tasks:default", "tasks@other:default"}
    owner.close()
    bench.run()
    assert (jobs.add.get_result(one.id).return_value, task_backends["other"].get_result(other.id).return_value) == (
        2,
        3,
    )
    assert other.backend == "other"


def test_run_after_may_be_a_timedelta_everywhere_it_is_said(bench: Bench) -> None:
    assert isinstance(replace(jobs.add, run_after=timedelta(seconds=5)).run_after, datetime)  # type: ignore[arg-type]


def test_run_after_can_not_be_said_by_the_decorator(bench: Bench) -> None:
    from tests.tasks.jobs import task

    with pytest.raises(TypeError, match="run_after"):
        task(run_after=timezone.now())(jobs.plain)  # type: ignore[call-overload]
