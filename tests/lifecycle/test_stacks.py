"""SIGUSR1: stacks of every process in the log."""

from __future__ import annotations

import os
import signal
import threading

import psutil
import pytest

from django_graceful import stacks
from tests.harness import Runner, Site, until
from tests.site import queues


def told(runner: Runner, title: str) -> str:
    """The text below the header that has ``title`` in it, up to the next line of the log."""
    runner.says(title)
    until(lambda: ends(runner, title), "the whole answer")
    begin, end = ends(runner, title) or (0, 0)
    return "\n".join(runner.log[begin:end])


def ends(runner: Runner, title: str) -> tuple[int, int] | None:
    log = list(runner.log)
    begin = next(at for at, line in enumerate(log) if title in line)
    end = next((at for at in range(begin + 1, len(log)) if " received" in log[at] or "stacks of" in log[at]), None)
    return (begin, end) if end is not None else None


def test_the_stacks_of_this_process_name_its_threads_and_the_main_thread_first() -> None:
    inside, leave = threading.Event(), threading.Event()
    answer: list[str] = []

    def waiting_for_the_test() -> None:
        inside.set()
        leave.wait(10)

    other = threading.Thread(target=waiting_for_the_test, name="the other thread")
    other.start()
    inside.wait(10)
    asker = threading.Thread(target=lambda: answer.append(stacks.own()))
    asker.start()
    asker.join()
    leave.set()
    other.join()
    assert answer[0].startswith("thread MainThread:")
    assert "thread the other thread:" in answer[0]
    assert "in waiting_for_the_test" in answer[0]
    assert "stacks.own" not in answer[0]


@pytest.mark.process
def test_usr1_tells_where_the_master_the_fork_server_and_each_worker_are_and_all_go_on(site: Site) -> None:
    runner = site.runner("--strict-exit").serving()
    item = queues.single.push({"n": 1, "seconds": 60})
    queues.record.push(1)
    site.said("start 1")
    site.said("record 1")
    busy = int(next(line for line in site.lines() if line.startswith("start 1")).split()[2])
    server = psutil.Process(runner.pid).children()[0].pid
    runner.send(signal.SIGUSR1)
    for title in (f"stacks of fork server {server}", f"stacks of worker {busy} (ready), which runs single {item}"):
        runner.says(title)
    runner.says("which runs nothing")
    runner.send(signal.SIGQUIT)
    assert "_live" in told(runner, f"stacks of runner {runner.pid}") or "run_forever" in "\n".join(runner.log)
    assert "forkserver.py" in told(runner, f"stacks of fork server {server}")
    assert "in single" in told(runner, f"stacks of worker {busy}")
    assert "in _wait" in told(runner, "which runs nothing")
    assert runner.end() == 3


@pytest.mark.process
def test_a_worker_that_holds_the_interpreters_lock_in_c_answers_again_and_again(site: Site) -> None:
    runner = site.runner(env={"GRACEFUL_TEST_EXTRA": '{"KILL_AFTER": 0.2}'}).serving()
    queues.stuck.push({"n": 1, "gil": True})
    site.said("start 1")
    for times in (1, 2):
        runner.send(signal.SIGUSR1)
        until(lambda times=times: sum("in stuck" in line for line in runner.log) == times, "its stack")  # type: ignore[misc]
    assert runner.stop(signal.SIGQUIT) == 0


@pytest.mark.process
def test_a_worker_that_is_stopped_is_named_and_the_others_answer(site: Site) -> None:
    runner = site.runner().serving()
    queues.slow.push_many([{"n": n, "seconds": 60} for n in range(2)])
    site.said("start 0")
    site.said("start 1")
    pids = {line.split()[1]: int(line.split()[2]) for line in site.lines()}
    os.kill(pids["0"], signal.SIGSTOP)
    runner.send(signal.SIGUSR1)
    runner.says(f"stacks of worker {pids['0']}")
    runner.says("no answer: it is stopped")
    runner.says("in slow")
    os.kill(pids["0"], signal.SIGCONT)
    assert runner.stop(signal.SIGQUIT) == 0
