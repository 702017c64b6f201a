"""A real runner: what is pushed is handled, in the ways that the queue declares."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from django_graceful.exceptions import QueueFull
from django_graceful.items import State, encode_record, new_id
from django_graceful.stores import get_store
from tests.harness import Site, numbers, until
from tests.site import queues

pytestmark = pytest.mark.process


def test_items_pushed_before_the_start_are_handled_in_order(site: Site) -> None:
    for n in range(50):
        queues.record.push(n)
    runner = site.runner("--drain")
    assert runner.end() == 0
    assert list(numbers(site.lines(), "record")) == [str(n) for n in range(50)]


def test_items_pushed_while_it_runs_are_handled(site: Site) -> None:
    runner = site.runner().serving()
    queues.record.push("now")
    site.said("record now")
    assert runner.stop() == 0


def test_the_handler_runs_in_a_worker_and_the_master_is_not_its_process(site: Site) -> None:
    runner = site.runner().serving()
    queues.wide.push("x")
    site.said("wide x")
    pid = int(site.lines()[0].split()[2])
    assert pid != runner.pid
    assert pid in {process.pid for process in runner.family()}


def test_a_delayed_item_waits_for_its_time_and_keeps_nobody_else_waiting(site: Site) -> None:
    site.runner().serving()
    queues.record.push("later", delay=0.6)
    queues.record.push("now")
    site.said("record later")
    assert site.lines() == ["record now", "record later"]


def test_higher_priority_runs_first(site: Site) -> None:
    for n in range(3):
        queues.record.push(f"low{n}", priority=-5)
    queues.record.push("high", priority=5)
    queues.record.push("normal")
    assert site.runner("--drain").end() == 0
    assert list(numbers(site.lines(), "record")) == ["high", "normal", "low0", "low1", "low2"]


def test_a_failing_item_is_tried_again_until_it_works(site: Site) -> None:
    runner = site.runner().serving()
    queues.flaky.push({"n": 1, "fails": 2})
    site.said("try 1 3")
    runner.says("will be tried again")
    assert runner.stop() == 0
    assert site.lines() == ["try 1 1", "try 1 2", "try 1 3"]


def test_an_item_without_attempts_left_is_dead_with_every_error_and_traceback(site: Site) -> None:
    runner = site.runner().serving()
    item_id = queues.flaky.push({"n": 1, "fails": 99})
    runner.says("is dead")
    with get_store().admin() as admin:
        found = admin.get(item_id)
    assert found is not None
    assert found.state is State.DEAD
    assert [error["attempt"] for error in found.item.errors] == [1, 2, 3, 4]
    assert {error["type"] for error in found.item.errors} == {"ValueError"}
    assert "in flaky" in found.item.errors[-1]["traceback"]
    assert runner.stop() == 0


def test_discard_is_dead_at_once_and_retry_counts_attempts_and_a_job_may_call_exit(site: Site) -> None:
    runner = site.runner().serving()
    ids = {how: queues.verdict.push({"how": how}) for how in ("discard", "retry", "exit")}
    until(lambda: len(site.lines()) == 1 + 3 + 3, "1 + 3 + 3 runs")
    with get_store().admin() as admin:
        found = until(
            lambda: f if (f := {h: admin.get(i) for h, i in ids.items()}) and all(f.values()) else None, "items"
        )
        until(
            lambda: all(f and f.state is State.DEAD for f in (admin.get(i) for i in ids.values())), "three dead items"
        )
        found = {how: admin.get(item_id) for how, item_id in ids.items()}
    assert found["discard"].detail["reason"] == "of no use"
    assert len(found["discard"].item.errors) == 1
    assert found["retry"].detail["reason"] == "not yet"
    assert [e["type"] for e in found["exit"].item.errors] == ["SystemExit"] * 3
    assert runner.stop() == 0


def test_a_batch_queue_gets_lists_and_only_the_returned_payloads_are_tried_again(site: Site) -> None:
    queues.batch.push_many({"n": n, "bad": n == 3} for n in range(25))
    runner = site.runner().serving()
    runner.says("is dead")
    calls = [line.split()[1:] for line in site.lines()]
    assert [len(call) for call in calls[:2]] == [10, 10]
    runs = Counter(n for call in calls for n in call)
    assert runs == {str(n): 5 if n == 3 else 1 for n in range(25)}
    assert runner.stop() == 0


def test_an_unfilled_batch_waits_a_moment_for_more(site: Site) -> None:
    site.runner(env={"GRACEFUL_TEST_EXTRA": '{"QUEUES": {"batch": {"BATCH_WAIT": 1.5}}}'}).serving()
    queues.batch.push({"n": 1})
    queues.batch.push({"n": 2})
    site.said("batch")
    assert site.lines() == ["batch 1 2"]


def test_async_handlers_run(site: Site) -> None:
    queues.coroutine.push({"n": 1, "seconds": 0.01})
    assert site.runner("--drain").end() == 0
    assert site.lines() == ["start 1", "end 1"]


def test_two_items_of_one_key_never_run_together_but_both_run(site: Site) -> None:
    site.runner().serving()
    queues.unique.push({"key": "a", "n": 1, "seconds": 0.3})
    site.said("start a 1")
    queues.unique.push({"key": "a", "n": 2})
    queues.unique.push({"key": "b", "n": 3})
    site.said("end a 2")
    lines = site.lines()
    assert lines.index("start a 2") > lines.index("end a 1")
    assert lines.index("end b 3") < lines.index("end a 1")


def test_a_push_with_a_key_that_waits_already_adds_nothing(site: Site) -> None:
    for n in range(5):
        queues.unique.push({"key": "a", "n": n})
    assert site.runner("--drain").end() == 0
    assert site.lines() == ["start a 0", "end a 0"]


def test_a_slow_item_holds_nothing_up_behind_it(site: Site) -> None:
    for n in range(40):
        queues.slow.push({"n": n, "seconds": 3 if n == 20 else 0})
    site.runner().serving()
    until(lambda: len(list(numbers(site.lines(), "end"))) >= 39, "all but the slow one")
    assert "20" not in numbers(site.lines(), "end")


def test_no_queue_starves_another(site: Site) -> None:
    queues.slow.push_many({"n": n, "seconds": 0.02} for n in range(300))
    site.runner("--max-processes", "2").serving()
    site.said("end 1")
    queues.record.push("other")
    site.said("record other")
    assert len(list(numbers(site.lines(), "end"))) < 250


def test_only_the_named_queues_are_served_and_excluded_ones_are_not(site: Site) -> None:
    queues.record.push(1)
    queues.wide.push(2)
    assert site.runner("record", "--drain").end() == 0
    assert list(numbers(site.lines(), "wide")) == []
    assert site.runner("--exclude", "wide", "--drain").end() == 0
    assert site.lines() == ["record 1"]
    assert site.runner("--drain").end() == 0
    assert list(numbers(site.lines(), "wide")) == ["2"]


def test_an_unknown_queue_on_the_command_line_is_an_error_that_names_the_nearest(site: Site) -> None:
    found = site.manage("runqueues", "recrod")
    assert found.returncode == 1
    assert "did you mean 'record'" in found.stderr


def test_an_item_of_a_queue_that_nobody_declares_is_set_aside_and_comes_back_when_somebody_does(
    site: Site, tmp_path: Path
) -> None:
    get_store().push("gone", [encode_record(new_id(), b'"lost and found"', pushed_at=1)])
    queues.record.push("after")
    runner = site.runner().serving()
    runner.says("set aside")
    site.said("record after")
    with get_store().admin() as admin:
        assert admin.counts()["gone"].dead == 1
    assert runner.stop() == 0
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "__init__.py").touch()
    (tmp_path / "later" / "queues.py").write_text(
        "from django_graceful import queue\nfrom tests.site.queues import say\n"
        "@queue('gone')\ndef gone(payload): say('gone', payload)\n"
    )
    site.env["PYTHONPATH"] += f":{tmp_path}"
    site.env["GRACEFUL_TEST_APP"] = "later"
    runner = site.runner().serving()
    site.said("gone lost and found")
    assert runner.stop() == 0


def test_what_can_not_be_decoded_is_dead_with_the_reason_and_the_rest_is_handled(site: Site) -> None:
    broken = new_id()
    get_store().push("record", [encode_record(broken, b"{not json", pushed_at=1)])
    queues.record.push("after")
    assert site.runner("--drain").end() == 0
    assert site.lines() == ["record after"]
    with get_store().admin(alone=True) as admin:
        found = admin.get(broken.hex())
    assert found is not None
    assert found.state is State.DEAD
    assert "not JSON" in found.detail["reason"]


def test_a_paused_queue_waits_also_over_a_restart(site: Site) -> None:
    with get_store().admin(alone=True) as admin:
        admin.pause("record")
    queues.record.push("paused")
    queues.wide.push("free")
    runner = site.runner().serving()
    site.said("wide free")
    with get_store().admin() as admin:
        admin.resume("record")
    site.said("record paused")
    assert runner.stop() == 0
    assert site.lines()[-1] == "record paused"


def test_a_run_beyond_its_timeout_is_stopped_and_ends_dead_as_timed_out(site: Site) -> None:
    runner = site.runner().serving()
    item_id = queues.limited.push({"n": 1, "seconds": 60})
    queues.limited.push({"n": 2, "seconds": 0})
    site.said("end 2")
    runner.says("is dead")
    with get_store().admin() as admin:
        found = admin.get(item_id)
    assert found is not None
    assert found.detail["reason"] == "timed out"
    assert [error["type"] for error in found.item.errors] == ["timed out"] * 2
    assert runner.stop() == 0


def test_a_full_queue_refuses_a_push_with_no_runner_and_takes_it_when_there_is_room(
    site: Site, settings: object
) -> None:
    settings.GRACEFUL = {**settings.GRACEFUL, "LENGTH": 10, "PUSH_TIMEOUT": 0.1}  # type: ignore[attr-defined]
    queues.record.push_many(range(10))
    with pytest.raises(QueueFull, match="record"):
        queues.record.push("too much")
    assert site.runner("--drain").end() == 0
    queues.record.push("fits")
    assert len(site.lines()) == 10


def test_an_idle_worker_ends_and_an_idle_runner_uses_no_processor(site: Site) -> None:
    runner = site.runner(env={"GRACEFUL_TEST_EXTRA": '{"WORKER_IDLE": 0.2}'}).serving()
    queues.record.push(1)
    site.said("record 1")
    until(lambda: len(runner.family()) == 2, "master and fork server only")
    master = runner.family()[0]
    before = sum(master.cpu_times()[:2])
    with pytest.raises(AssertionError):
        until(lambda: False, "two seconds", 2.0)
    assert sum(master.cpu_times()[:2]) - before < 0.1
    assert runner.stop() == 0


def test_a_worker_ends_after_its_number_of_items(site: Site) -> None:
    queues.wide.push_many(range(30))
    extra = '{"MAX_JOBS": 5, "QUEUES": {"wide": {"MAX_WORKERS": 1}}}'
    assert site.runner("--drain", env={"GRACEFUL_TEST_EXTRA": extra}).end() == 0
    assert len({line.split()[2] for line in site.lines()}) > 1
    assert len(site.lines()) == 30


def test_a_handler_finds_no_open_store_and_no_signal_of_ours_in_its_children(site: Site) -> None:
    runner = site.runner().serving()
    queues.slow.push({"n": 1, "seconds": 30})
    site.said("start 1")
    pid = int(site.lines()[0].split()[2])
    files = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    assert not [file for file in files if "/db/" in file or file.endswith("owner.lock")]
    assert runner.stop(signal.SIGQUIT) == 0
