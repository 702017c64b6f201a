"""Queues with ``threads``: several items at once in one worker, and every promise holds for each of them."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress

import psutil
import pytest

from django_graceful.items import State
from django_graceful.stores import get_store
from django_graceful.stores.base import Found
from tests.harness import Site, numbers, until
from tests.site import queues, threads

pytestmark = pytest.mark.process


def pids(site: Site) -> set[int]:
    return {int(line.split()[2]) for line in site.lines() if line.startswith("start")}


def count(site: Site, word: str) -> Counter[str]:
    return Counter(numbers(site.lines(), word))


def started(site: Site, number: int) -> None:
    until(lambda: len(count(site, "start")) >= number, f"{number} items to start")


def found(item_id: str) -> Found | None:
    with get_store().admin() as admin:
        return admin.get(item_id)


def push(seconds: list[float], **more: object) -> list[str]:
    return queues.threaded.push_many({"n": n, "seconds": s, **more} for n, s in enumerate(seconds))


def cancel(item_id: str) -> None:
    with get_store().admin() as admin:
        admin.request_cancel(item_id, by="anna")


def state_of(item_id: str) -> State | None:
    item = found(item_id)
    return None if item is None else item.state


def charged(item_id: str) -> tuple[int, int] | None:
    """Crashes and attempts of an item that is not done."""
    item = found(item_id)
    return None if item is None else (item.item.crashes, item.item.attempt)


def test_eight_items_that_wait_run_side_by_side_in_one_worker_each_in_a_thread(site: Site) -> None:
    runner = site.runner().serving()
    push([0.5] * 8)
    begin = time.monotonic()
    until(lambda: len(count(site, "end")) == 8, "eight ends")
    assert time.monotonic() - begin < 2.5
    assert len(pids(site)) == 1
    assert len({line.split()[3] for line in site.lines() if line.startswith("start")}) == 8
    assert runner.stop() == 0


def test_a_slow_item_does_not_hold_the_other_threads_back(site: Site) -> None:
    runner = site.runner().serving()
    push([30] + [0.001] * 300)
    until(lambda: len(count(site, "end")) == 300, "all the others")
    assert len(pids(site)) == 1
    assert runner.stop(signal.SIGQUIT) == 0


def test_more_than_eight_never_run_at_once_and_all_of_a_flood_is_done_once(site: Site) -> None:
    push([0.0] * 1000)
    assert site.runner("--drain").end() == 0
    running = most = 0
    for line in site.lines():
        running += 1 if line.startswith("start") else -1
        most = max(most, running)
    assert 1 < most <= 8
    assert count(site, "end") == {str(n): 1 for n in range(1000)}


def test_failures_are_tried_again_and_a_queue_without_threads_is_served_by_the_same_worker(site: Site) -> None:
    runner = site.runner("--max-processes", "1").serving()
    bad = queues.threaded.push({"n": 100, "bad": True})
    push([0.01] * 20)
    queues.record.push("between")
    until(lambda: state_of(bad) is State.DEAD, "the bad one to die")
    site.said("record between")
    assert count(site, "start")["100"] == 5
    queues.tasks.push_many({"n": n + 200} for n in range(20))
    until(lambda: sum(count(site, "end").values()) == 40, "all ends")
    assert len(pids(site)) == 1
    item = found(bad)
    assert item is not None
    assert [error["type"] for error in item.item.errors] == ["ValueError"] * 5
    assert runner.stop() == 0


@pytest.mark.parametrize("who", ["the worker", "everything"])
def test_a_kill_charges_those_that_ran_repeats_none_that_had_ended_and_leaves_the_rest(site: Site, who: str) -> None:
    quick, slow, rest = push([0.01] * 40), push([2] * 8), push([0] * 30)
    runner = site.runner().serving()
    until(lambda: len(site.lines()) == 88, "40 to end and 8 to run")
    if who == "everything":
        for process in runner.family():
            process.kill()
        runner.process.wait()
        runner = site.runner().serving()
    else:
        os.kill(pids(site).pop(), signal.SIGKILL)
    until(lambda: charged(slow[7]) != (0, 0), "the kill to be counted")
    assert [charged(item_id) for item_id in slow] == [(1, 0)] * 8
    assert {charged(item_id) for item_id in rest} <= {(0, 0), None}
    assert {charged(item_id) for item_id in quick} == {None}
    until(lambda: len(site.lines()) == 88 + 16 + 60, "all the others, and eight runs again")
    assert count(site, "start") == count(site, "end") + Counter({str(n): 1 for n in range(8)})
    assert runner.stop() == 0


def test_a_cancel_stops_that_one_and_its_neighbours_come_to_their_end(site: Site) -> None:
    runner = site.runner().serving()
    ids = push([20] + [1.5] * 7)
    started(site, 8)
    cancel(ids[0])
    until(lambda: state_of(ids[0]) is State.CANCELLED, "the cancelled one")
    item = found(ids[0])
    assert item is not None
    assert (item.item.attempt, item.item.crashes, item.detail["by"]) == (0, 0, "anna")
    push([0])
    until(lambda: len(count(site, "end")) == 8, "seven ends, and of another worker one more")
    assert max(count(site, "start").values()) == 2  # number 0 is that of the later push
    assert len(pids(site)) == 2
    assert runner.stop() == 0
    runner.says(", 0 killed")


def test_one_that_hears_nothing_is_killed_and_its_neighbours_come_back_uncharged(site: Site) -> None:
    runner = site.runner(env={"GRACEFUL_TEST_EXTRA": '{"CANCEL_GRACE": 0.5}'}).serving()
    deaf = queues.threaded.push({"n": 50, "seconds": 60, "step": 60})
    ids = push([3] * 7)
    started(site, 8)
    cancel(deaf)
    until(lambda: state_of(deaf) is State.CANCELLED, "the cancelled one")
    assert [charged(item_id) for item_id in ids] == [(0, 0)] * 7
    until(lambda: len(count(site, "end")) == 7, "seven second runs")
    assert count(site, "start") == {"50": 1, **{str(n): 2 for n in range(7)}}
    assert runner.stop() == 0


def test_timeouts_hit_who_is_late_by_the_queues_time_or_their_own(site: Site) -> None:
    extra = '{"QUEUES": {"threaded": {"TIMEOUT": 0.6, "MAX_ATTEMPTS": 1}}, "CANCEL_GRACE": 20}'
    runner = site.runner(env={"GRACEFUL_TEST_EXTRA": extra}).serving()
    late = queues.threaded.push({"n": 1, "seconds": 30})
    early = queues.threaded.push({"n": 2, "seconds": 30}, timeout=0.2)
    patient = queues.threaded.push({"n": 3, "seconds": 1.5}, timeout=60)
    until(lambda: state_of(late) is State.DEAD and state_of(early) is State.DEAD, "two late ones")
    until(lambda: found(patient) is None, "the patient one")
    messages = [item.item.errors[-1]["message"] for item in (found(late), found(early)) if item is not None]
    assert messages == ["ran longer than 0.6 s", "ran longer than 0.2 s"]
    assert list(count(site, "end")) == ["3"]
    assert runner.stop() == 0


def test_the_hammer_meets_every_thread_and_all_of_them_run_again(site: Site) -> None:
    runner = site.runner(env={"GRACEFUL_TEST_EXTRA": '{"HAMMER_AFTER": 0.2, "KILL_AFTER": 15}'}).serving()
    ids = push([60] * 8)
    rest = push([0] * 5)
    started(site, 8)
    begin = time.monotonic()
    assert runner.stop() == 0
    assert time.monotonic() - begin < 10
    assert "8 interrupted" in runner.says("8 interrupted")
    with get_store().admin(alone=True) as admin:
        items = [admin.get(item_id) for item_id in ids + rest]
    assert [item and (item.state, item.item.crashes, item.item.attempt) for item in items] == [
        (State.WAITING, 0, 0)
    ] * 13
    assert set(count(site, "start").values()) == {1}


def test_a_storm_of_cancels_hits_nobody_else(site: Site) -> None:
    runner = site.runner(env={"GRACEFUL_TEST_EXTRA": '{"QUEUES": {"threaded": {"MAX_WORKERS": 2}}}'}).serving()
    spread = random.Random(7)
    ids = push([spread.choice([0.0, 0.005, 0.03, 0.1]) for _ in range(600)])
    meant = spread.sample(ids, 200)
    with get_store().admin() as admin:
        for item_id in meant:
            admin.request_cancel(item_id)
    until(lambda: not any(s is State.RUNNING or s is State.WAITING for s in map(state_of, ids)), "the end of all")
    states = {item_id: state_of(item_id) for item_id in ids}
    ended = {ids[int(n)] for n in count(site, "end")}
    assert set(states.values()) <= {None, State.CANCELLED}
    assert {item_id for item_id in ids if states[item_id] is State.CANCELLED} <= set(meant)
    assert set(ids) - set(meant) <= ended
    assert max(count(site, "end").values()) == 1
    assert runner.stop() == 0
    runner.says(", 0 killed")


def test_coroutines_run_side_by_side_and_each_is_cancelled_alone(site: Site) -> None:
    runner = site.runner().serving()
    ids = queues.tasks.push_many({"n": n, "seconds": 60 if n == 7 else 1.0} for n in range(20))
    started(site, 20)
    assert len(pids(site)) == 1
    cancel(ids[7])
    until(lambda: state_of(ids[7]) is State.CANCELLED, "the cancelled one")
    until(lambda: len(count(site, "end")) == 19, "the others")
    assert set(count(site, "start").values()) == {1}
    queues.tasks.push({"n": 99, "bad": True})
    runner.says("will be tried again")
    assert runner.stop() == 0
    runner.says(", 0 killed")


def test_a_master_that_is_killed_takes_its_threads_along_and_all_run_again(site: Site) -> None:
    runner = site.runner().serving()
    push([3] * 8)
    started(site, 8)
    family = runner.family()
    runner.process.kill()
    assert not psutil.wait_procs(family, timeout=5)[1]
    site.runner().serving()
    until(lambda: len(count(site, "end")) == 8, "eight ends")
    assert set(count(site, "start").values()) == {2}
    assert set(count(site, "end").values()) == {1}


def test_connections_are_closed_after_each_item_in_the_thread_that_ran_it(site: Site) -> None:
    runner = site.runner(env={"GRACEFUL_TEST_DB": str(site.store.parent / "db.sqlite3")}).serving()
    queues.connected.push_many({"n": n, "seconds": 0.05} for n in range(12))
    until(lambda: len(count(site, "start")) == 12, "twelve items")
    lines = [line.split() for line in site.lines() if line.startswith("connection")]
    assert len({thread for _, _, thread, _ in lines}) == 2
    assert {was_open for *_, was_open in lines} == {"False"}
    assert runner.stop() == 0


def test_a_coroutines_connections_are_closed_after_it_in_the_thread_of_sync_to_async(site: Site) -> None:
    runner = site.runner(env={"GRACEFUL_TEST_DB": str(site.store.parent / "db.sqlite3")}).serving()
    threads.aconnected.push_many({"n": n} for n in range(6))
    until(lambda: len(count(site, "start")) == 6, "six items")
    threads.aconnected_tasks.push({"n": 6})
    site.said("start 6")
    threads.aconnected_tasks.push({"n": 7})
    site.said("start 7")
    lines = [line.split() for line in site.lines() if line.startswith("connection")]
    assert len({thread for _, n, thread, _ in lines if int(n) < 6}) == 1
    assert [was_open for *_, was_open in lines] == ["False"] * 8
    assert runner.stop() == 0


def test_a_cancelled_thread_ends_its_own_command_and_no_other(site: Site) -> None:
    runner = site.runner().serving()
    ids = queues.thread_command.push_many({"n": n, "argv": ["sleep", "60" if n == 2 else "1.2"]} for n in range(4))
    started(site, 4)
    commands = until(lambda: c if len(c := sleeping(pids(site).pop())) == 4 else None, "four commands")
    cancel(ids[2])
    until(lambda: state_of(ids[2]) is State.CANCELLED, "the cancelled one")
    until(lambda: len(count(site, "end")) == 3, "the others")
    assert count(site, "end") == {"0": 1, "1": 1, "3": 1}
    assert not psutil.wait_procs(commands, timeout=5)[1]
    assert set(count(site, "start").values()) == {1}
    assert runner.stop() == 0
    runner.says(", 0 killed")


def test_a_command_that_an_item_leaves_ends_with_it_and_those_of_its_neighbours_go_on(site: Site) -> None:
    runner = site.runner().serving()
    queues.thread_command.push({"n": 1, "argv": ["sleep", "3"]})
    queues.thread_command.push({"n": 2, "argv": ["sleep", "61"], "left": True})
    started(site, 2)
    left = until(lambda: sleeping(pids(site).pop(), "61"), "the command that is left")
    site.said("end 2")
    assert not psutil.wait_procs(left, timeout=5)[1]
    assert len(sleeping(pids(site).pop(), "3")) == 1
    site.said("end 1")
    assert runner.stop() == 0


def sleeping(worker: int, seconds: str = "") -> list[psutil.Process]:
    """The ``sleep`` commands below that worker."""
    found = []
    for process in psutil.Process(worker).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            words = process.cmdline()
            if words[:1] == ["sleep"] and (not seconds or words[1] == seconds):
                found.append(process)
    return found
