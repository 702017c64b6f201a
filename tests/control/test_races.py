"""Runners and tools that come and go at the same time, as processes of their own, killed in between."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from django_graceful.exceptions import StoreLocked, StoreUnavailable
from django_graceful.items import State
from django_graceful.stores import get_store
from django_graceful.stores.base import Progress
from django_graceful.stores.leveldb import LevelDBStore
from tests.control.records import record

pytestmark = pytest.mark.process
SCRIPT = Path(__file__).with_name("runner.py")
ROOT = Path(__file__).resolve().parents[2]


class Runner:
    """One process that owns and serves the store."""

    def __init__(self, path: Path, lease: int = 0) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(path), str(lease)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def serving(self) -> Runner:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line == "serving\n", self.end()
        return self

    def end(self) -> str:
        """Wait for the end; what it said last."""
        out, err = self.process.communicate(timeout=30)
        return out + err

    def stop(self, number: signal.Signals = signal.SIGTERM) -> str:
        self.process.send_signal(number)
        return self.end()


@pytest.fixture
def store(store_path: Path) -> LevelDBStore:
    found = get_store()
    assert isinstance(found, LevelDBStore)
    return found


@pytest.fixture
def runners(store_path: Path) -> Iterator[list[Runner]]:
    found: list[Runner] = []
    yield found
    for runner in found:
        runner.process.kill()
        runner.process.communicate(timeout=30)


def test_a_second_runner_is_refused_with_the_pid_of_the_first(store_path: Path, runners: list[Runner]) -> None:
    runners.append(Runner(store_path).serving())
    runners.append(Runner(store_path))
    assert f"is owned by the runner with pid {runners[0].process.pid} since" in runners[1].end()


def test_a_tool_asks_the_runner_and_sees_what_was_just_pushed(
    store: LevelDBStore, store_path: Path, runners: list[Runner]
) -> None:
    runners.append(Runner(store_path).serving())
    for number in range(1, 20):
        store.push("q", [record()])
        with store.admin(alone=True) as desk:
            assert desk.counts()["q"].waiting == number
    with pytest.raises(StoreLocked) as caught:
        store.own()
    assert caught.value.pid == runners[0].process.pid
    assert runners[0].stop() == "ended\n"


def test_after_a_killed_runner_a_tool_opens_the_store_in_spite_of_its_lock_and_sockets(
    store: LevelDBStore, store_path: Path, runners: list[Runner]
) -> None:
    store.push("q", [record() for _ in range(3)])
    runners.append(Runner(store_path, lease=2).serving())
    with store.admin() as desk:
        assert desk.counts()["q"].running == 2
    runners[0].stop(signal.SIGKILL)
    assert (store_path / "control.sock").exists()
    assert (store_path / "owner.lock").stat().st_size
    with store.admin(alone=True) as desk:
        counts = desk.counts()["q"]
    assert (counts.waiting, counts.running) == (3, 0)
    runners.append(Runner(store_path).serving())
    assert runners[1].stop() == "ended\n"


def test_a_tool_believes_what_the_killed_runners_workers_left_on_their_slates(
    store: LevelDBStore, store_path: Path, runners: list[Runner], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.push("q", [record() for _ in range(3)])
    runners.append(Runner(store_path, lease=3).serving())
    with store.admin() as desk:
        first = min(found.detail["execution"] for found in desk.page("q", State.RUNNING).items)
    runners[0].stop(signal.SIGKILL)
    from django_graceful.runner.slate import SlateDirectory

    asked: list[str] = []

    def witness(self: SlateDirectory, owner: str) -> Progress:
        asked.append(owner)
        assert self.path == store_path / "slates"
        return Progress(started=first + 1, finished=first)

    monkeypatch.setattr(SlateDirectory, "witness", witness)
    with store.admin(alone=True) as desk:
        counts = desk.counts()["q"]
        crashes = [found.item.crashes for found in desk.page("q", State.WAITING).items]
    assert asked == ["worker"]
    assert (counts.done, counts.waiting) == (1, 2)
    assert sorted(crashes) == [0, 1]


def test_a_runner_waits_for_a_tool_that_has_the_store(
    store: LevelDBStore, store_path: Path, runners: list[Runner]
) -> None:
    with store.admin(alone=True):
        runners.append(Runner(store_path))
        until_it_tries(runners[0].process.pid, store_path)
    runners[0].serving()
    assert runners[0].stop() == "ended\n"


def until_it_tries(pid: int, path: Path) -> None:
    """Until that process has the lock file open."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                if os.readlink(f"/proc/{pid}/fd/{fd}") == str(path / "owner.lock"):
                    return
            except FileNotFoundError:
                continue
        time.sleep(0.005)
    raise AssertionError("the runner never tried to own the store")


def test_tools_always_get_an_answer_while_runners_start_stop_and_are_killed(
    store: LevelDBStore, store_path: Path, runners: list[Runner]
) -> None:
    dice = random.Random(3)
    over = threading.Event()
    failures: list[BaseException] = []
    answers: list[int] = []
    pushed = 0

    def ask() -> None:
        while not over.wait(0.03):
            try:
                with store.admin(alone=True) as desk:
                    answers.append(desk.counts()["q"].waiting)
            except StoreUnavailable as error:
                # a runner that ends between the greeting and the question is said to be gone; anything else is wrong
                if "no runner runs" not in str(error) and "went away" not in str(error):
                    failures.append(error)
            except BaseException as error:
                failures.append(error)
                return

    store.push("q", [record()])
    tools = [threading.Thread(target=ask) for _ in range(2)]
    for tool in tools:
        tool.start()
    try:
        for _ in range(6):
            runners.append(Runner(store_path).serving())
            store.push("q", [record()])
            pushed += 1
            runners[-1].stop(dice.choice([signal.SIGTERM, signal.SIGKILL]))
    finally:
        over.set()
        for tool in tools:
            tool.join()
    assert failures == []
    assert len(answers) > 6
    with store.admin(alone=True) as desk:
        assert desk.counts()["q"].waiting == pushed + 1
        assert desk.check() == []
