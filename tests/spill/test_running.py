"""What a process does with the items that it keeps in memory: as a runner would."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from django_graceful import Cancelled, CancelProcess, Discard, Retry, current_process, nodes, signals
from django_graceful.exceptions import QueueFull, StoreLocked
from django_graceful.items import Outcome, State
from django_graceful.processes import roots
from django_graceful.spill import hands, stock
from django_graceful.stores import get_store
from django_graceful.stores.base import CancelReply
from tests.harness import until
from tests.spill.conftest import Fast


def test_items_are_handled_by_threads_of_this_process(fast: Fast) -> None:
    names: set[str] = set()

    def handler(payload: Any) -> None:
        names.add(threading.current_thread().name)
        fast.did.append((payload, os.getpid()))

    queue = fast.queue(handler)
    assert stock.stocks() == (), "nothing is begun before the first push"
    ids = queue.push_many(range(50))
    fast.idle()
    assert sorted(fast.did) == [(n, os.getpid()) for n in range(50)]
    assert names <= {"graceful fast 0", "graceful fast 1"}
    assert len(set(ids)) == 50
    assert fast.over_there() == []


def test_as_many_run_at_once_as_there_are_threads_and_more_of_a_queue_than_it_allows_never(fast: Fast) -> None:
    wide, narrow = fast.queue(fast.waits, "wide"), fast.queue(fast.waits, "narrow", max_workers=1)
    narrow.push_many(["n", "n"])
    fast.begun(1)
    assert fast.did == ["n"]
    wide.push_many(["w", "w"])
    fast.begun(2)
    assert fast.did == ["n", "w"]
    assert len(fast.stock.hands._seats) == 2
    fast.go.set()
    fast.begun(4)


def test_a_queue_with_many_items_lets_another_queue_have_its_turn(fast: Fast) -> None:
    one, other = fast.queue(fast.waits, max_workers=2), fast.queue(name="other")
    one.push_many(["one"] * 100)
    fast.begun(2)
    other.push("other")
    fast.go.set()
    until(lambda: "other" in fast.did, "the other one's turn")
    assert fast.did.index("other") < 10


def test_higher_priorities_come_first_and_delayed_items_at_their_time(fast: Fast) -> None:
    queue = fast.queue(max_workers=1)
    queue.push("late", delay=0.3)
    queue.push("now")
    fast.begun(1)
    assert fast.did == ["now"]
    began = time.monotonic()
    fast.begun(2)
    assert fast.did == ["now", "late"]
    assert time.monotonic() - began < 5


def test_what_fails_is_tried_again_after_its_backoff_and_then_done(fast: Fast) -> None:
    attempts = []

    def fails_twice(payload: Any) -> None:
        process = current_process()
        assert process is not None
        attempts.append(process.details["attempt"])
        if len(attempts) == 1:
            raise ValueError("no")
        if len(attempts) == 2:
            raise Retry(0.01)
        fast.did.append(payload)

    fast.queue(fails_twice, backoff=0.01).push("x")
    fast.begun(1)
    assert attempts == [0, 1, 2]
    fast.idle()
    assert fast.over_there() == []


@pytest.mark.parametrize("error", [ValueError("never"), Discard("never")])
def test_dead_letters_go_to_the_other_store_at_once_and_are_dead_there_without_a_run(
    fast: Fast, error: Exception
) -> None:
    heard = []

    def fails(payload: Any) -> None:
        fast.did.append(payload)
        raise error

    def hear(item: Any, reason: str, **kwargs: Any) -> None:
        heard.append((item.id, reason))

    signals.dead.connect(hear)
    try:
        item_id = fast.queue(fails, max_attempts=1, unique="finished").push("x", key="k")
        until(fast.over_there, "the dead letter")
    finally:
        signals.dead.disconnect(hear)
    [found] = fast.over_there()
    assert found.item.id == item_id
    assert "never" in found.item.errors[0]["message"]
    assert heard == [(item_id, found.item.meta["ended"]["reason"])]
    with get_store("default").admin(alone=True) as admin:
        assert not admin.has("q", "k"), "it would be in the way of a fresh one"
    with get_store("fast").admin() as admin:
        assert admin.get(item_id) is None


def test_a_runner_does_not_run_the_dead_letter_but_calls_it_dead_until_somebody_lets_it_wait_again(fast: Fast) -> None:
    from django_graceful.runner.executing import Execution
    from django_graceful.runner.wire import Unit

    def fails(payload: Any) -> None:
        raise Discard("never")

    item_id = fast.queue(fails).push("x")
    until(fast.over_there, "the dead letter")
    owner = get_store("default").own()
    try:
        while owner.prepare():
            pass
        leases = owner.lease("q", 1, "w")
        execution = Execution(Unit(0, "q", False, leases))
        assert execution.jobs == []
        [ending] = execution.report.endings
        assert (ending.outcome, ending.reason) == (Outcome.DEAD, "never")
        owner.finish(endings=[ending])
        found = owner.get(item_id)
        assert found is not None
        assert (found.state, found.detail["reason"], found.item.attempt) == (State.DEAD, "never", 1)
        assert owner.retry("q") == 1
        assert Execution(Unit(0, "q", False, owner.lease("q", 1, "w"))).jobs[0].payload == "x"
    finally:
        owner.close()


def test_an_item_that_must_not_run_twice_is_dead_over_there_when_it_was_stopped(fast: Fast) -> None:
    item_id = fast.queue(fast.waits, rerun=False).push("x")
    fast.begun(1)
    roots()[0].cancel("shutdown")
    until(fast.over_there, "the dead letter")
    [found] = fast.over_there()
    assert found.item.id == item_id
    assert "must not run twice" in found.item.meta["ended"]["reason"]


def test_a_queue_full_of_waiting_items_says_so(fast: Fast) -> None:
    queue = fast.queue(fast.waits, max_workers=1, length=3)
    queue.push("runs")
    fast.begun(1)
    store = get_store("fast")
    for n in range(3):
        queue.push(n)
    until(lambda: fast.stock.inlet.count("q") + fast.stock.keeper.depths.waiting["q"] == 3, "three to wait")
    with pytest.raises(QueueFull, match="3 items wait, 3 may"):
        store.push("q", [b"x"], 3)


def test_unique_items_are_one_while_they_wait(fast: Fast) -> None:
    queue = fast.queue(fast.waits, max_workers=1, unique="queued", key=lambda payload: payload[0])
    queue.push(["a", 1])
    fast.begun(1)
    queue.push(["b", 1])
    queue.push(["b", 2])
    queue.push(["a", 2])
    fast.go.set()
    fast.begun(3)
    fast.idle()
    assert fast.did == [["a", 1], ["b", 1], ["a", 2]]


def test_a_batch_gets_many_and_only_what_it_gives_back_is_tried_again(fast: Fast) -> None:
    def batch(payloads: list[Any]) -> list[Any]:
        fast.did.append(sorted(payloads))
        return [payload for payload in payloads if payload == 3 and len(fast.did) == 1]

    queue = fast.queue(batch, batch_length=5, batch_wait=0.2, backoff=0.01, max_workers=1)
    for n in range(4):
        queue.push(n)
    fast.begun(2)
    assert fast.did == [[0, 1, 2, 3], [3]]


def test_async_handlers_run_too_and_their_sync_code_in_the_same_thread(fast: Fast) -> None:
    async def handler(payload: Any) -> None:
        await asyncio.sleep(0)
        process = current_process()
        assert process is not None
        name = await sync_to_async(lambda: threading.current_thread().name)()
        fast.did.append((payload, process.kind, name))

    fast.queue(handler).push("x")
    fast.begun(1)
    assert fast.did[0][:2] == ("x", "job")
    assert fast.did[0][2].startswith("graceful fast")


def test_a_run_is_a_process_that_everybody_sees(fast: Fast) -> None:
    item_id = fast.queue(fast.waits).push({"n": 1})
    fast.begun(1)
    [process] = roots()
    assert process.description == f"q: {item_id}"
    [node] = nodes.running("default")
    [row] = node["processes"]
    assert (row["kind"], row["queue"], row["item"], row["items"], row["attempt"]) == ("job", "q", item_id, 1, 0)
    assert row["id"].startswith(nodes.node_name())
    fast.go.set()
    until(lambda: not roots(), "the process to be gone")


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_cancel_by_its_process_ends_the_run_and_the_item_and_names_who_it_was(fast: Fast, asynchronous: bool) -> None:
    raised = []

    def handler(payload: Any) -> None:
        try:
            fast.waits(payload)
        except Cancelled as error:
            raised.append(error.reason)
            raise

    async def async_handler(payload: Any) -> None:
        fast.did.append(payload)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raised.append("cancel")
            raise

    queue = fast.queue(async_handler if asynchronous else handler)
    item_id = queue.push("x")
    fast.begun(1)
    [process] = roots()
    assert nodes.cancel(process.id, by="ann", reason="wrong photo") == "asked"
    until(lambda: not roots(), "the run to end")
    assert raised == ["cancel"]
    with get_store("fast").admin() as admin:
        found = admin.get(item_id)
        assert found is not None
        assert (found.state, found.detail["by"], found.detail["reason"]) == (State.CANCELLED, "ann", "wrong photo")
        assert (found.item.attempt, found.item.errors) == (0, [])
    queue.push("y")
    fast.begun(2)


def test_a_cancel_by_its_item_ends_what_runs_and_what_waits(fast: Fast) -> None:
    queue = fast.queue(fast.waits, max_workers=1)
    runs, waits = queue.push_many(["runs", "waits"])
    fast.begun(1)
    assert queue.cancel(waits, by="ann") is CancelReply.CANCELLED
    assert queue.cancel(runs, by="ann") is CancelReply.ASKED
    until(lambda: not roots(), "the run to end")
    with get_store("fast").admin() as admin:
        assert [found.item.id for found in admin.page("q", State.CANCELLED).items] == [waits, runs]
    assert queue.cancel("00" * 16) is CancelReply.UNKNOWN
    assert fast.did == ["runs"]


def test_a_cancel_of_one_item_of_a_batch_lets_the_others_run_again(fast: Fast) -> None:
    def batch(payloads: list[Any]) -> None:
        process = current_process()
        assert process is not None
        fast.did.append(list(payloads))
        if len(fast.did) == 1:
            process.handled(payloads[0])
            fast.waits("waits")

    queue = fast.queue(batch, batch_length=3)
    ids = queue.push_many([0, 1, 2])
    fast.begun(2)
    assert queue.cancel(ids[1]) is CancelReply.ASKED
    fast.begun(3)
    assert fast.did == [[0, 1, 2], "waits", [2]]


def test_a_cancel_of_the_process_of_a_batch_cancels_all_that_it_has_not_handled(fast: Fast) -> None:
    def batch(payloads: list[Any]) -> None:
        process = current_process()
        assert process is not None
        process.handled(payloads[0])
        with pytest.raises(ValueError, match="once"):
            process.handled(payloads[0])
        fast.waits("waits")

    queue = fast.queue(batch, batch_length=3)
    ids = queue.push_many([0, 1, 2])
    fast.begun(1)
    roots()[0].cancel(by="ann")
    until(lambda: not roots(), "the run to end")
    with get_store("fast").admin() as admin:
        assert [found.item.id for found in admin.page("q", State.CANCELLED).items] == ids[1:]
        assert admin.get(ids[0]) is None


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_cancel_that_comes_before_the_handler_begins_counts(fast: Fast, asynchronous: bool) -> None:
    async def async_handler(payload: Any) -> None:
        fast.did.append(payload)

    def cancel(item: Any, **kwargs: Any) -> None:
        roots()[0].cancel(by="ann")

    signals.started.connect(cancel)
    try:
        item_id = fast.queue(async_handler if asynchronous else None).push("x")
        fast.idle()
    finally:
        signals.started.disconnect(cancel)
    with get_store("fast").admin() as admin:
        found = admin.get(item_id)
    assert found is not None
    assert (found.state, found.detail["by"]) == (State.CANCELLED, "ann")
    assert fast.did == []


def test_a_handler_may_cancel_its_own_item(fast: Fast) -> None:
    def handler(payload: Any) -> None:
        raise CancelProcess("not needed")

    item_id = fast.queue(handler).push("x")
    fast.idle()
    with get_store("fast").admin() as admin:
        found = admin.get(item_id)
    assert found is not None
    assert (found.state, found.detail["reason"]) == (State.CANCELLED, "not needed")


def test_a_run_that_takes_too_long_is_ended_and_counts_as_a_failure(fast: Fast) -> None:
    item_id = fast.queue(fast.waits, timeout=0.05, max_attempts=1).push("x")
    until(fast.over_there, "the dead letter")
    [found] = fast.over_there()
    assert (found.item.id, found.item.errors[0]["type"]) == (item_id, "timed out")


def test_a_timeout_of_the_whole_process_is_none_of_the_run_and_costs_no_attempt(fast: Fast) -> None:
    item_id = fast.queue(fast.waits, rerun=False).push("x")
    fast.begun(1)
    roots()[0].cancel("timeout", by="gunicorn")
    until(fast.over_there, "the item, which must not run twice")
    [found] = fast.over_there()
    assert (found.item.id, found.item.attempt, found.item.crashes, found.item.errors) == (item_id, 0, 0, [])
    assert found.item.meta["ended"]["reason"] == "shutdown; it must not run twice"


def test_a_run_below_its_time_ends_its_watch(fast: Fast) -> None:
    fast.queue(timeout=3600).push("x")
    fast.begun(1)
    until(lambda: not [one for one in threading.enumerate() if isinstance(one, threading.Timer)], "the watch to end")


def test_what_ends_a_thread_elsewhere_is_the_failure_of_its_item_here(fast: Fast) -> None:
    def leaves(payload: Any) -> None:
        fast.did.append(payload)
        if payload == "bad":
            raise SystemExit(3)

    queue = fast.queue(leaves, max_attempts=1)
    queue.push("bad")
    until(fast.over_there, "the dead letter")
    for n in range(4):
        queue.push(n)
    fast.begun(5)


def test_an_error_of_our_own_costs_a_crash_and_no_thread(
    fast: Fast, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, failed = hands.Run.perform, []

    def perform(self: Any, tidier: Any) -> Any:
        if len(failed) < 2:
            failed.append(1)
            raise RuntimeError("ours")
        return real(self, tidier)

    monkeypatch.setattr(hands.Run, "perform", perform)
    fast.queue().push("x")
    fast.begun(1)
    assert len(failed) == 2
    assert "a thread that runs queue q" in caplog.text


def test_nobody_can_own_it(fast: Fast) -> None:
    with pytest.raises(StoreLocked, match="memory of each process"):
        get_store("fast").own()


def test_the_desk_counts_pauses_and_has_no_private_parts(fast: Fast) -> None:
    queue = fast.queue()
    with get_store("fast").admin() as admin:
        assert admin.counts() == {}
        admin.pause("q")
    queue.push("x")
    with get_store("fast").admin() as admin:
        with pytest.raises(AttributeError):
            admin._engine  # type: ignore[attr-defined]  # noqa: B018
        with pytest.raises(AttributeError):
            admin.lease  # type: ignore[attr-defined]  # noqa: B018
        with pytest.raises(TypeError):
            admin.get()  # type: ignore[call-arg]
        assert (admin.counts()["q"].paused, admin.counts()["q"].waiting) == (True, 1)
        until(lambda: fast.stock.hands._idle, "a thread to sleep")
        admin.resume("q")
    fast.begun(1)


def test_a_push_while_a_thread_sleeps_wakes_it_at_once(fast: Fast) -> None:
    queue = fast.queue()
    queue.push(0)
    fast.idle()
    for n in range(1, 30):
        until(lambda: fast.stock.hands._idle, "a thread to sleep")
        began = time.monotonic()
        queue.push(n)
        fast.begun(n + 1)
        assert time.monotonic() - began < 5
