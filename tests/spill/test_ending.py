"""The end of a process, step by step: nothing that was pushed is lost, whoever ends what and whenever."""

from __future__ import annotations

import _thread
import json
import logging
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from django_graceful import Cancelled, lifecycle, spill
from django_graceful.exceptions import StoreUnavailable
from django_graceful.items import State
from django_graceful.lifecycle import Phase
from django_graceful.lifecycle.countdown import countdown
from django_graceful.processes import roots
from django_graceful.spill import ending, handover
from django_graceful.stores import get_store
from tests.harness import until
from tests.spill.conftest import Fast


def running_and_waiting(fast: Fast, **options: Any) -> Any:
    """Two run, three wait, one is scheduled."""
    queue = fast.queue(fast.waits, **options)
    queue.push_many(range(5))
    queue.push(5, delay=3600, priority=7, key="k")
    fast.begun(2)
    return queue


def test_at_the_drain_what_waits_is_handed_over_as_it_is_and_what_runs_goes_on(fast: Fast) -> None:
    queue = running_and_waiting(fast)
    with get_store("fast").admin() as admin:
        before = {found.item.id: found.item for state in (State.WAITING, State.SCHEDULED)
                  for found in admin.page("q", state).items}  # fmt: skip
    spill.drain()
    assert {found.item.id: found.item for found in fast.over_there()} == before
    assert sorted(fast.payloads()) == [2, 3, 4, 5]
    assert [found.state for found in fast.over_there()].count(State.SCHEDULED) == 1
    queue.push(6)
    assert 6 in fast.payloads(), "a push goes straight to the other store"
    fast.go.set()
    assert spill.settle(10)
    spill.conclude()
    assert sorted(fast.did) == [0, 1]
    assert sorted(fast.payloads()) == [2, 3, 4, 5, 6]


def test_a_draining_node_hands_over_by_itself(fast: Fast) -> None:
    running_and_waiting(fast)
    lifecycle.node.reach(Phase.DRAINING, "test")
    until(lambda: len(fast.over_there()) == 4, "what waits to be handed over")


def test_what_runs_at_the_end_and_fails_is_handed_over_with_its_attempt_and_its_error(fast: Fast) -> None:
    def fails(payload: Any) -> None:
        fast.waits(payload)
        raise ValueError("no")

    fast.queue(fails, backoff=100).push("x")
    fast.begun(1)
    spill.drain()
    fast.go.set()
    until(fast.over_there, "the item")
    [found] = fast.over_there()
    assert (found.item.attempt, found.item.errors[0]["message"], found.state) == (1, "no", State.RETRYING)


def test_what_is_cancelled_by_the_hammer_is_handed_over_without_an_attempt(fast: Fast) -> None:
    running_and_waiting(fast)
    spill.drain()
    for process in roots():
        process.cancel("shutdown", by="gunicorn")
    assert spill.settle(10)
    assert sorted(fast.payloads()) == [0, 1, 2, 3, 4, 5]
    assert {found.item.attempt for found in fast.over_there()} == {0}


def test_what_heeds_no_cancel_is_handed_over_before_the_process_goes_and_its_late_end_changes_nothing(
    fast: Fast, caplog: pytest.LogCaptureFixture
) -> None:
    def stubborn(payload: Any) -> None:
        fast.did.append(payload)
        while not fast.go.is_set():
            try:
                fast.go.wait(0.01)
            except Cancelled:
                fast.did.append("swallowed")

    item_id = fast.queue(stubborn).push("x")
    fast.begun(1)
    spill.drain()
    for process in roots():
        process.cancel("shutdown")
    fast.begun(2)
    assert not spill.settle(0.05)
    spill.conclude()
    assert [found.item.id for found in fast.over_there()] == [item_id]
    assert f"will run again: {item_id} of queue q" in caplog.text
    fast.go.set()
    assert spill.settle(10)
    spill.conclude()
    assert [found.item.id for found in fast.over_there()] == [item_id]


def test_of_a_batch_only_what_is_not_handled_runs_again(fast: Fast) -> None:
    from django_graceful import current_process

    def batch(payloads: list[Any]) -> None:
        process = current_process()
        assert process is not None
        process.handled(payloads[0])
        fast.waits("waits")

    fast.queue(batch, batch_length=3).push_many([0, 1, 2])
    fast.begun(1)
    spill.conclude()
    assert fast.payloads() == [1, 2]


def test_every_step_may_be_taken_by_many_at_once_and_twice(fast: Fast) -> None:
    queue = fast.queue(fast.waits)
    ids = queue.push_many(range(500))
    fast.begun(2)
    steps = [spill.drain, spill.conclude, spill.drain, spill.conclude]
    threads = [threading.Thread(target=step) for step in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    fast.go.set()
    spill.settle(10)
    spill.conclude()
    found = [found.item.id for found in fast.over_there()]
    assert sorted(found) == sorted(ids)


def test_items_pushed_while_the_end_begins_are_each_handled_or_over_there(fast: Fast) -> None:
    queue = fast.queue()
    pushed: list[str] = []
    stop = threading.Event()

    def push() -> None:
        n = 0
        while not stop.is_set():
            pushed.append(queue.push(n))
            n += 1
            if n % 20 == 0:
                stop.wait(0.005)

    threads = [threading.Thread(target=push) for _ in range(3)]
    done: list[str] = []

    def note(payload: Any) -> None:
        from django_graceful import current_process

        process = current_process()
        assert process is not None
        done.append(process.details["item"])

    queue.handler = note
    for thread in threads:
        thread.start()
    until(lambda: len(done) > 50, "work to be on its way")
    spill.drain()
    before = len(pushed)
    until(lambda: len(pushed) > before + 50, "pushes after the end began")
    stop.set()
    for thread in threads:
        thread.join()
    spill.settle(10)
    spill.conclude()
    over_there = [found.item.id for found in fast_all()]
    assert len(set(pushed)) == len(pushed)
    assert sorted(done + over_there) == sorted(pushed)


def fast_all() -> list[Any]:
    with get_store("default").admin(alone=True) as admin:
        found, after = [], None
        while True:
            page = admin.page("q", State.WAITING, after, 1000)
            found += page.items
            after = page.after
            if after is None:
                return found


def test_a_push_in_the_very_moment_of_the_end_is_taken_back_and_goes_to_the_other_store(
    fast: Fast, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = fast.queue(fast.waits)
    queue.push("first")
    fast.begun(1)
    put = fast.stock.inlet.put

    def late(name: str, records: Any) -> None:
        spill.drain()
        put(name, records)

    monkeypatch.setattr(fast.stock.inlet, "put", late)
    queue.push("late")
    assert fast.payloads() == ["late"]


def test_a_keeper_that_is_closed_hands_nothing_out_whoever_asks(fast: Fast) -> None:
    running_and_waiting(fast, max_workers=10)
    keeper = fast.stock.keeper
    keeper.close()
    assert keeper.lease()[0] is None
    assert sorted(one for left in keeper.left() for one in left.records) != []


def test_when_no_thread_can_be_started_the_other_store_gets_it(fast: Fast, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*arguments: Any) -> None:
        raise RuntimeError("can't start new thread")

    queue = fast.queue()
    with monkeypatch.context() as patch:
        patch.setattr(_thread, "start_new_thread", start)
        queue.push("x")
    assert fast.payloads() == ["x"]
    queue.push("y")
    fast.begun(1)
    assert fast.did == ["y"]


def test_settle_waits_until_the_hammer_where_there_is_one(fast: Fast) -> None:
    running_and_waiting(fast)
    spill.drain()
    countdown.start(0.2, 5)
    began = time.monotonic()
    assert not spill.settle(60)
    assert 0.1 < time.monotonic() - began < 20


def test_ctrl_c_cuts_the_end_of_a_process_short_and_loses_nothing(fast: Fast, monkeypatch: pytest.MonkeyPatch) -> None:
    running_and_waiting(fast)

    def settle(seconds: float) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(ending, "settle", settle)
    ending.leave()
    assert sorted(fast.payloads()) == [0, 1, 2, 3, 4, 5]


def test_a_process_that_ends_lets_its_jobs_end_and_cancels_them_in_the_end(fast: Fast) -> None:
    raised = []

    def waits(payload: Any) -> None:
        try:
            fast.waits(payload)
        except Cancelled as error:
            raised.append(error.reason)
            raise

    fast.queue(waits).push("x")
    fast.begun(1)
    ending.leave()
    assert raised == ["shutdown"]
    assert fast.payloads() == ["x"]


class Broken:
    """The other store can not be written until it is mended."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.tried = 0
        self._patch = patch
        store = get_store("default")
        patch.setattr(store, "push", self.push)

    def push(self, *arguments: Any) -> Any:
        self.tried += 1
        raise StoreUnavailable("the disk is full")

    def mend(self) -> None:
        self._patch.undo()


def test_while_the_other_store_is_away_it_is_tried_again_and_again(
    fast: Fast, caplog: pytest.LogCaptureFixture
) -> None:
    running_and_waiting(fast)
    with pytest.MonkeyPatch.context() as patch:
        broken = Broken(patch)
        draining = threading.Thread(target=spill.drain)
        draining.start()
        until(lambda: broken.tried >= 2, "a second try")
        broken.mend()
        draining.join(20)
    assert sorted(fast.payloads()) == [2, 3, 4, 5]
    assert caplog.text.count("the disk is full") == 1


def test_a_dead_letter_that_can_not_be_handed_over_yet_is_later(fast: Fast) -> None:
    def fails(payload: Any) -> None:
        fast.did.append(payload)
        raise ValueError

    queue = fast.queue(fails, max_attempts=1)
    with pytest.MonkeyPatch.context() as patch:
        broken = Broken(patch)
        queue.push(1)
        until(lambda: broken.tried, "the try")
        fast.idle()
    queue.push(2)
    until(lambda: len(fast.over_there()) == 2, "both")


def test_what_can_not_be_handed_over_at_all_is_named_loudly_and_written_to_a_file_once(
    fast: Fast, caplog: pytest.LogCaptureFixture
) -> None:
    running_and_waiting(fast)
    fast.path.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        Broken(patch)
        spill.conclude(0.1)
        spill.conclude(0.1)
    [path] = fast.path.glob("unspilled-*.jsonl")
    assert path.stat().st_mode & 0o777 == 0o600
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert sorted(line["payload"] for line in lines) == [0, 1, 2, 3, 4, 5]
    assert {line["queue"] for line in lines} == {"q"}
    [late] = [line for line in lines if line["payload"] == 5]
    assert (late["priority"], late["key"], late["dead"]) == (7, "k", False)
    critical = [one.getMessage() for one in caplog.records if one.levelno == logging.CRITICAL]
    assert len(critical) == 7
    assert str(path) in critical[0]
    for line in lines:
        assert f"queue q: item {line['item']}, payload of 1 bytes" in critical
    spill.conclude()
    assert sorted(fast.payloads()) == [0, 1, 2, 3, 4, 5], "they are not forgotten, in case that it can be written again"


def test_where_no_directory_of_the_store_is_the_file_goes_to_the_temporary_ones(
    fast: Fast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(handover.tempfile, "gettempdir", lambda: str(tmp_path))
    running_and_waiting(fast)
    shutil.rmtree(fast.path, ignore_errors=True)
    with pytest.MonkeyPatch.context() as patch:
        Broken(patch)
        spill.conclude(0.1)
    assert len(list(tmp_path.glob("graceful-unspilled-*.jsonl"))) == 1


def test_where_no_file_can_be_written_the_log_still_names_everything(
    fast: Fast, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(handover.tempfile, "gettempdir", lambda: "/nowhere/at/all")
    running_and_waiting(fast)
    shutil.rmtree(fast.path, ignore_errors=True)
    with pytest.MonkeyPatch.context() as patch:
        Broken(patch)
        spill.conclude(0.1)
    assert "no file could be written either" in caplog.text
    assert caplog.text.count("payload of 1 bytes") == 6


def test_who_is_in_a_hurry_does_not_wait_for_who_has_time(fast: Fast) -> None:
    running_and_waiting(fast)
    fast.path.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        broken = Broken(patch)
        draining = threading.Thread(target=spill.drain)
        draining.start()
        until(lambda: broken.tried, "the first try")
        began = time.monotonic()
        spill.conclude(0.5)
        draining.join(20)
        assert time.monotonic() - began < 10
        assert len(list(fast.path.glob("unspilled-*"))) == 1


def test_many_items_and_large_ones_are_handed_over_in_portions(fast: Fast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "_BYTES", 10_000)
    queue = fast.queue(fast.waits)
    ids = queue.push_many(["x" * 6000] * 3 + [1] * 1200)
    fast.begun(2)
    pushes: list[int] = []
    store, real = get_store("default"), get_store("default").push

    def push(name: str, records: Any, limit: int = 0) -> Any:
        pushes.append(len(records))
        return real(name, records, limit)

    monkeypatch.setattr(store, "push", push)
    spill.conclude()
    assert sum(pushes) == len(ids) == len(set(ids))
    assert max(pushes) <= 500
    assert pushes[0] == 1


@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_child_by_fork_has_nothing_of_it_and_hands_nothing_over(fast: Fast) -> None:
    queue = fast.queue(fast.waits)
    queue.push_many(range(4))
    fast.begun(2)
    pid = os.fork()
    if not pid:
        try:
            ending.leave()
            code = 0
            with get_store("fast").admin() as admin:
                code = len(admin.counts())
        except BaseException:
            code = 99
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert fast.over_there() == []
    spill.conclude()
    assert sorted(fast.payloads()) == [0, 1, 2, 3]
