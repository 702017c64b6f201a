"""Running what is queued inside a test."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.test import override_settings
from django.utils import translation

from django_graceful import BatchFailure, CancelProcess, Discard, Retry, current_process, get_queue, queue, signals
from django_graceful.items import Outcome, State
from django_graceful.stores import get_store
from django_graceful.test import QueueBox
from tests.testing.conftest import Handler


def outcomes(ran: list[Any]) -> list[tuple[Any, str]]:
    return [(one.payload, str(one.outcome)) for one in ran]


def test_everything_ready_runs_by_priority_and_then_in_order(graceful_queues: QueueBox) -> None:
    handler = Handler()
    jobs = queue("jobs")(handler.handle)
    jobs.push_many([1, 2])
    jobs.push(3, priority=5)
    ran = graceful_queues.run_queued()
    assert handler.got == [3, 1, 2]
    assert outcomes(ran) == [(3, "done"), (1, "done"), (2, "done")]
    assert graceful_queues.items(jobs) == []
    assert graceful_queues.run_queued() == []


def test_what_handlers_push_runs_too_and_only_the_named_queues_run(graceful_queues: QueueBox) -> None:
    one, two = Handler(lambda payload: get_queue("two").push(payload + 1)), Handler()
    queue("one")(one.handle).push(1)
    second = queue("two")(two.handle)
    assert [ran.queue for ran in graceful_queues.run_queued("one")] == ["one"]
    assert two.got == []
    graceful_queues.run_queued(second)
    assert two.got == [2]


def test_the_error_of_a_handler_is_raised_and_its_item_waits_for_its_retry(graceful_queues: QueueBox) -> None:
    jobs = queue("jobs")(Handler(KeyError("bug")).handle)
    item_id, other = jobs.push_many([1, 2])
    with pytest.raises(KeyError, match="bug") as caught:
        graceful_queues.run_queued()
    assert caught.value.__notes__ == [f"(item {item_id} of queue 'jobs', outcome retry)"]
    retrying, waiting = sorted(graceful_queues.items(jobs), key=lambda found: found.item.payload)
    assert (retrying.item.id, retrying.state, retrying.item.attempt) == (item_id, State.RETRYING, 1)
    assert retrying.item.errors[0]["message"] == "'bug'"
    assert (waiting.item.id, waiting.state) == (other, State.WAITING)


def test_kept_errors_are_in_the_answer_and_the_rest_runs(graceful_queues: QueueBox) -> None:
    error = KeyError("bug")
    jobs = queue("jobs", max_attempts=1)(Handler(error).handle)
    jobs.push_many([1, 2])
    bad, good = graceful_queues.run_queued(keep_errors=True)
    assert (bad.outcome, bad.error, bad.reason) == (Outcome.DEAD, error, "KeyError: 'bug'")
    assert (good.outcome, good.error) == (Outcome.DONE, None)


def test_retries_stand_still_until_somebody_travels(graceful_queues: QueueBox) -> None:
    handler = Handler(Retry(60))
    queue("jobs")(handler.handle).push(1)
    [ran] = graceful_queues.run_queued()
    assert (ran.outcome, ran.delay) == (Outcome.RETRY, 60)
    graceful_queues.travel(57.7)
    graceful_queues.travel(1.1)
    graceful_queues.travel(timedelta(seconds=1))
    assert graceful_queues.run_queued() == []
    graceful_queues.travel(0.2)
    assert outcomes(graceful_queues.run_queued()) == [(1, "done")]


def test_a_delay_stands_still_to_the_microsecond(graceful_queues: QueueBox) -> None:
    jobs = queue("jobs")(Handler().handle)
    jobs.push(1, delay=30)
    graceful_queues.travel(29.999999)
    assert graceful_queues.run_queued() == []
    graceful_queues.travel(0.000001)
    assert outcomes(graceful_queues.run_queued()) == [(1, "done")]
    with pytest.raises(ValueError, match="forward only"):
        graceful_queues.travel(-1)


def test_ahead_runs_what_is_delayed_and_retried_in_the_order_of_its_time(graceful_queues: QueueBox) -> None:
    handler = Handler(Retry(20))
    jobs, later = queue("jobs")(handler.handle), queue("later")(Handler().handle)
    jobs.push("again")
    jobs.push("first", delay=10)
    jobs.push("last", delay=3600)
    later.push("other")
    graceful_queues.run_queued(jobs, ahead=True)
    assert handler.got == ["again", "first", "again", "last"]
    assert graceful_queues.items(jobs) == []
    assert len(graceful_queues.items(later)) == 1


def test_ahead_comes_to_the_last_attempt(graceful_queues: QueueBox) -> None:
    jobs = queue("jobs", max_attempts=3)(Handler(*[ValueError("no")] * 3).handle)
    jobs.push(1)
    assert outcomes(graceful_queues.run_queued(ahead=True, keep_errors=True)) == [
        (1, "retry"),
        (1, "retry"),
        (1, "dead"),
    ]
    [dead] = graceful_queues.items(jobs, State.DEAD)
    assert len(dead.item.errors) == 3


def test_queues_in_several_stores_run_together(graceful_queues: QueueBox) -> None:
    stores = {name: {"BACKEND": "memory"} for name in ("default", "fast")}
    with override_settings(GRACEFUL={"STORES": stores}):
        here, there = queue("here")(Handler(Retry(10)).handle), queue("there", store="fast")(Handler().handle)
        here.push(1)
        there.push(2, delay=5)
        assert outcomes(graceful_queues.run_queued(here, there, ahead=True)) == [(1, "retry"), (2, "done"), (1, "done")]


def test_a_cancelled_item_does_not_run_and_a_paused_queue_neither(graceful_queues: QueueBox) -> None:
    jobs = queue("jobs")(Handler().handle)
    first, second = jobs.push(1), jobs.push(2, delay=3)
    jobs.cancel(first)
    with get_store().admin() as admin:
        admin.pause("jobs")
    assert graceful_queues.run_queued(ahead=True) == []
    with pytest.raises(AssertionError, match="its queue is paused"):
        graceful_queues.run_item(second)
    assert [found.state for found in graceful_queues.items(jobs)] == [State.WAITING, State.CANCELLED]


@pytest.mark.parametrize(
    ("error", "outcome"), [(Discard("no use"), "dead"), (CancelProcess("enough"), "cancelled"), (Retry(3), "retry")]
)
def test_what_a_handler_says_is_no_error(graceful_queues: QueueBox, error: Exception, outcome: str) -> None:
    queue("jobs")(Handler(error).handle).push(1)
    assert outcomes(graceful_queues.run_queued()) == [(1, outcome)]


def test_a_retry_without_an_attempt_left_is_one(graceful_queues: QueueBox) -> None:
    queue("jobs", max_attempts=1)(Handler(Retry(3, "busy")).handle).push(1)
    with pytest.raises(Retry, match="busy"):
        graceful_queues.run_queued()


def test_what_queues_itself_for_ever_is_stopped(graceful_queues: QueueBox) -> None:
    handler = Handler(*[lambda payload: get_queue("jobs").push(payload + 1, delay=1)] * 20)
    jobs = queue("jobs")(handler.handle)
    jobs.push(1)
    with pytest.raises(AssertionError, match=r"10 runs and no end, now in 'jobs'\. If it needs more, set limit="):
        graceful_queues.run_queued(ahead=True, limit=10)
    assert [found.state for found in graceful_queues.items(jobs)] == [State.WAITING]


def test_one_item_runs_alone(graceful_queues: QueueBox) -> None:
    handler = Handler()
    jobs = queue("jobs")(handler.handle)
    ids = jobs.push_many([1, 2, 3])
    ran = graceful_queues.run_item(ids[1])
    assert (ran.id, ran.payload, ran.outcome) == (ids[1], 2, Outcome.DONE)
    assert [found.item.payload for found in graceful_queues.items(jobs, State.WAITING)] == [1, 3]
    assert all(found.item.attempt == 0 for found in graceful_queues.items(jobs))


def test_an_item_that_can_not_run_now_says_why(graceful_queues: QueueBox) -> None:
    jobs = queue("jobs")(Handler(Discard("no use")).handle)
    item_id = jobs.push(1, delay=30)
    with pytest.raises(AssertionError, match="is scheduled: travel"):
        graceful_queues.run_item(item_id)
    graceful_queues.travel(30)
    graceful_queues.run_item(item_id)
    with pytest.raises(AssertionError, match=r"is dead \(no use\)\."):
        graceful_queues.run_item(item_id)
    with pytest.raises(AssertionError, match="no item 00"):
        graceful_queues.run_item("00" * 16)


def test_batches_are_as_long_as_the_queue_says_and_each_item_ends_by_itself(graceful_queues: QueueBox) -> None:
    handler = Handler(lambda payloads: [BatchFailure(payloads[0], Discard("bad")), payloads[1]])
    queue("batch", batch_length=3)(handler.handle).push_many([1, 2, 3, 4])
    assert outcomes(graceful_queues.run_queued()) == [(1, "dead"), (2, "retry"), (3, "done"), (4, "done")]
    assert handler.got == [[1, 2, 3], [4]]


def test_a_batch_handler_may_call_items_handled(graceful_queues: QueueBox) -> None:
    def handle(payloads: list[Any]) -> None:
        process = current_process()
        assert process is not None
        process.handled(payloads[0])
        raise ValueError("in the middle")

    queue("batch", batch_length=3)(handle).push_many([1, 2])
    assert outcomes(graceful_queues.run_queued(keep_errors=True)) == [(1, "done"), (2, "retry")]


def test_an_async_handler_runs(graceful_queues: QueueBox) -> None:
    got = []

    async def handle(payload: Any) -> None:
        got.append(payload)

    queue("async")(handle).push(1)
    assert outcomes(graceful_queues.run_queued()) == [(1, "done")]
    assert got == [1]


def test_an_async_test_awaits_the_run(graceful_queues: QueueBox) -> None:
    import asyncio

    async def handle(payload: Any) -> None:
        await asyncio.sleep(0)

    jobs = queue("async")(handle)

    async def inside() -> None:
        item_id, _ = await jobs.apush_many([1, 2])
        with pytest.raises(RuntimeError, match="await arun_queued"):
            graceful_queues.run_queued()
        assert (await graceful_queues.arun_item(item_id)).outcome is Outcome.DONE
        assert outcomes(await graceful_queues.arun_queued(jobs)) == [(2, "done")]

    asyncio.run(inside())


def test_a_handler_runs_as_a_job_in_a_context_of_its_own(graceful_queues: QueueBox) -> None:
    seen: list[Any] = []

    def handle(payload: Any) -> None:
        process = current_process()
        assert process is not None
        seen.extend([process.kind, process.details["queue"], translation.get_language()])

    queue("jobs")(handle).push(1)
    with translation.override("de"):
        graceful_queues.run_queued()
    assert seen == ["job", "jobs", "en-us"]
    assert current_process() is None


def test_the_signals_of_jobs_are_sent(graceful_queues: QueueBox) -> None:
    seen: list[Any] = []

    def finished(sender: Any, item: Any, outcome: Any, **kwargs: Any) -> None:
        seen.append((sender.name, item.payload, outcome))

    signals.finished.connect(finished)
    try:
        queue("jobs")(Handler().handle).push(1)
        graceful_queues.run_queued()
    finally:
        signals.finished.disconnect(finished)
    assert seen == [("jobs", 1, Outcome.DONE)]


def test_a_failure_of_the_test_inside_a_handler_is_raised_and_the_item_still_waits(graceful_queues: QueueBox) -> None:
    jobs = queue("jobs")(Handler(KeyboardInterrupt()).handle)
    jobs.push(1)
    with pytest.raises(KeyboardInterrupt):
        graceful_queues.run_queued()
    assert [(found.state, found.item.attempt) for found in graceful_queues.items(jobs)] == [(State.WAITING, 0)]


def test_an_item_of_a_queue_that_is_gone_is_dead(graceful_queues: QueueBox, registry: dict[str, Any]) -> None:
    queue("gone")(Handler().handle).push(1)
    registry.clear()
    [ran] = graceful_queues.run_queued()
    assert ran.outcome is Outcome.DEAD
    assert "gone" in ran.reason


@pytest.mark.django_db
def test_what_a_handler_leaves_for_the_commit_happens_when_it_has_ended(graceful_queues: QueueBox) -> None:
    second = Handler()
    queue("second")(second.handle)

    def handle(payload: Any) -> None:
        with transaction.atomic():
            Group.objects.create(name="made")
            get_queue("second").push(payload, on_commit=True)
        with transaction.atomic():
            get_queue("second").push("rolled back", on_commit=True)
            transaction.set_rollback(True)

    before = []
    transaction.on_commit(lambda: before.append("the test's own"))
    queue("first")(handle).push(1)
    graceful_queues.run_queued()
    assert second.got == [1]
    assert before == []
    assert len(connection.run_on_commit) == 1
    assert Group.objects.filter(name="made").exists()


@pytest.mark.django_db
def test_an_error_after_the_commit_is_the_handlers(graceful_queues: QueueBox) -> None:
    def fail() -> None:
        raise ValueError("after the commit")

    def handle(payload: Any) -> None:
        transaction.on_commit(fail, robust=payload)

    queue("jobs")(handle).push_many([True, False])
    assert outcomes(graceful_queues.run_queued(keep_errors=True)) == [(True, "done"), (False, "retry")]
