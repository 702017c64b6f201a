"""``flush``, ``check``, ``repair`` and ``shutdown``: the same with a runner and without one."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management.base import CommandError

from django_graceful.console import draining, upkeep
from django_graceful.items import State
from django_graceful.stores.base import Problem, StoreAdmin
from django_graceful.stores.engine.owner import Engine
from django_graceful.stores.leveldb.ownership import OwnerLock
from tests.commands.conftest import Console, Shop
from tests.control.serving import FakeAdmin, serving


@pytest.fixture
def drained(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What ``runqueues --drain`` would have been called with."""
    calls: list[Any] = []
    monkeypatch.setattr(draining, "call_command", lambda *args, **options: calls.append((args, options)))
    return calls


class Emptying(FakeAdmin):
    """A queue that has one item less each time it is asked."""

    def __init__(self, waiting: int, running: int = 0, *, paused: bool = False) -> None:
        super().__init__()
        self.left = [waiting, running]
        self.paused = paused

    def counts(self) -> dict[str, Any]:
        found = super().counts()
        mail = found["mäil"]
        mail.waiting, mail.running = self.left
        mail.paused = self.paused
        if not self.paused:
            self.left = [max(0, self.left[0] - 1), self.left[1]]
        mail.scheduled, mail.dead = 4, 5
        return {"mail": mail}


def status() -> dict[str, Any]:
    return {"pid": 1}


def test_flush_waits_until_the_runner_has_emptied_the_queues(
    graceful: Console, store_path: Path, drained: list[Any]
) -> None:
    store_path.mkdir()
    with serving(store_path, Emptying(3), extra={"runner_status": status}):
        answer = graceful.json("flush", "mail")
    assert answer["empty"] is True
    assert answer["seconds"] > 0.2
    assert answer["queues"] == [
        {"queue": "mail", "store": "default", "paused": False}
        | {"waiting": 0, "running": 0, "scheduled": 4, "retrying": 0, "dead": 5}
    ]
    assert drained == []


def test_flush_fails_at_the_timeout_and_says_what_is_left(
    graceful: Console, store_path: Path, drained: list[Any]
) -> None:
    store_path.mkdir()
    with serving(store_path, Emptying(0, running=2), extra={"runner_status": status}):
        answer, failure = graceful.failing_json("flush", "--timeout", "0.2")
    assert answer["empty"] is False
    assert failure == "queue mail has 0 waiting and 2 running"


def test_flush_does_not_wait_for_a_paused_queue(graceful: Console, store_path: Path, drained: list[Any]) -> None:
    store_path.mkdir()
    with serving(store_path, Emptying(3, paused=True), extra={"runner_status": status}):
        answer, failure = graceful.failing_json("flush", "mail", "--timeout", "100")
    assert answer["seconds"] < 50
    assert failure == "queue mail has 3 waiting and 0 running and is paused"


@pytest.mark.parametrize("shop", ["alone"], indirect=True)
def test_flush_without_a_runner_drains_in_this_process_with_no_store_open(
    graceful: Console, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []

    def run(*args: Any, **options: Any) -> None:
        calls.append((args, options))
        owner = shop.store.own()  # would raise if the command had it open
        owner.discard("mail", State.WAITING)
        owner.close()

    monkeypatch.setattr(draining, "call_command", run)
    answer = graceful.json("flush", "mail")
    assert calls == [(("runqueues", "mail"), {"drain": True, "verbosity": 1})]
    assert answer["empty"] is True
    (queue,) = answer["queues"]
    assert (queue["scheduled"], queue["retrying"], queue["dead"]) == (1, 1, 1)


@pytest.mark.parametrize("shop", ["alone"], indirect=True)
def test_flush_says_when_the_drain_left_something(graceful: Console, shop: Shop, drained: list[Any]) -> None:
    with pytest.raises(CommandError, match="queue mail has 2 waiting and 0 running; queue old has 1 waiting"):
        graceful("flush", "--timeout", "0.1")
    lines = graceful.written.splitlines()
    assert lines[0].split() == ["QUEUE", "WAITING", "RUNNING", "SCHEDULED", "RETRYING", "DEAD", "STORE"]
    assert lines[1].split() == ["mail", "2", "0", "1", "1", "1", "default"]


@pytest.mark.parametrize("shop", ["alone"], indirect=True)
@pytest.mark.parametrize(("code", "fails"), [(0, False), (None, False), (1, True)])
def test_flush_minds_the_exit_code_of_the_drain(
    graceful: Console, shop: Shop, monkeypatch: pytest.MonkeyPatch, code: int | None, fails: bool
) -> None:
    def leave(*args: Any, **options: Any) -> None:
        sys.exit(code)

    monkeypatch.setattr(draining, "call_command", leave)
    with pytest.raises(CommandError, match="exit code 1" if fails else "has 2 waiting"):
        graceful("flush", "mail", "--timeout", "0.1")


@pytest.mark.parametrize("value", ["0", "-1", "soon", "inf", "nan"])
def test_a_timeout_is_a_number_of_seconds(graceful: Console, store_path: Path, value: str) -> None:
    with pytest.raises(CommandError, match="must be a number of seconds"):
        graceful("flush", f"--timeout={value}")


def test_the_time_limit_of_a_drain_is_a_sigterm_once_somebody_handles_it() -> None:
    got: list[int] = []
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with draining.time_limit(0.01):
            while signal.getitimer(signal.ITIMER_REAL)[0] <= 0.02:  # it has rung, and rings again later
                signal.pause()
            signal.signal(signal.SIGTERM, lambda number, frame: got.append(number))
            signal.pause()
        assert got == [signal.SIGTERM]
        assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_drain_that_ends_in_time_is_never_disturbed() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with draining.time_limit(60):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 50
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    assert signal.getsignal(signal.SIGALRM) == before


def test_check_and_repair_find_nothing_in_a_sound_store(graceful: Console, shop: Shop) -> None:
    assert graceful("check") == "All is as it should be.\n"
    assert graceful.json("check") == {"problems": []}
    assert graceful("repair") == "There was nothing to mend.\n"
    assert graceful.json("repair") == {"mended": [], "problems": []}


def break_it(shop: Shop, monkeypatch: pytest.MonkeyPatch, *, mendable: bool) -> None:
    """The engine says that there are problems; ``repair`` mends those that can be."""
    problems = [Problem("queue mail", "a count is \x1bwrong")]
    if not mendable:
        problems.append(Problem("item 7", "is gone", repairable=False))
    mended: list[Problem] = []

    def repair(self: StoreAdmin) -> list[Problem]:
        found = [problem for problem in problems if problem.repairable]
        mended.extend(found)
        return found

    monkeypatch.setattr(Engine, "check", lambda self: [p for p in problems if p not in mended])
    monkeypatch.setattr(Engine, "repair", repair)


def test_check_fails_with_a_list_of_what_it_found(
    graceful: Console, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_it(shop, monkeypatch, mendable=False)
    answer, failure = graceful.failing_json("check")
    assert answer["problems"] == [
        {"store": "default", "where": "queue mail", "what": "a count is \x1bwrong", "repairable": True},
        {"store": "default", "where": "item 7", "what": "is gone", "repairable": False},
    ]
    assert failure == "2 problems found; see: manage.py graceful repair"
    with pytest.raises(CommandError):
        graceful("check")
    assert graceful.written.splitlines()[1] == r"default  queue mail  a count is \x1bwrong  yes"


@pytest.mark.parametrize("mendable", [True, False])
def test_repair_says_what_it_mended_and_fails_when_something_is_left(
    graceful: Console, shop: Shop, monkeypatch: pytest.MonkeyPatch, mendable: bool
) -> None:
    break_it(shop, monkeypatch, mendable=mendable)
    if mendable:
        assert "Mended:" in graceful("repair")
        return
    answer, failure = graceful.failing_json("repair")
    assert [problem["where"] for problem in answer["mended"]] == ["queue mail"]
    assert [problem["where"] for problem in answer["problems"]] == ["item 7"]
    assert failure == "1 problem could not be mended"


@pytest.mark.parametrize("shop", ["alone"], indirect=True)
def test_shutdown_without_a_runner_says_so_and_is_content(graceful: Console, shop: Shop) -> None:
    assert graceful("shutdown", "--wait") == "store default: no runner runs\n"
    answer = graceful.json("shutdown")
    assert answer == {"stores": [{"store": "default", "pid": None, "phase": None, "ended": True}]}


def test_a_runner_with_two_stores_is_told_once_because_twice_would_hasten_it(
    graceful: Console, store_path: Path, tmp_path: Path, settings: Any
) -> None:
    second = tmp_path / "second"
    settings.GRACEFUL = {
        "STORES": settings.GRACEFUL["STORES"] | {"second": {"BACKEND": "leveldb", "PATH": second}},
    }
    orders: list[str] = []

    def shutdown() -> str:
        orders.append("stop")
        return "draining"

    store_path.mkdir()
    second.mkdir()
    extra = {"shutdown": shutdown}
    with serving(store_path, FakeAdmin(), extra=extra), serving(second, FakeAdmin(), extra=extra):
        answer = graceful.json("shutdown")
    assert orders == ["stop"]
    assert [store["phase"] for store in answer["stores"]] == ["draining", "draining"]
    assert [store["ended"] for store in answer["stores"]] == [None, None]


def test_shutdown_that_waits_fails_when_the_runner_does_not_end(graceful: Console, store_path: Path) -> None:
    store_path.mkdir()
    with serving(store_path, FakeAdmin(), extra={"shutdown": lambda: "draining"}):
        answer, failure = graceful.failing_json("shutdown", "--wait", "--timeout", "0.05")
    assert answer["stores"][0]["ended"] is False
    assert "still running after 0.05 s: pid" in failure


@pytest.mark.process
def test_waiting_for_the_end_is_over_when_the_process_is(monkeypatch: pytest.MonkeyPatch, store_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:

        class Client:
            def ask(self, call: str) -> str:
                process.kill()
                return "draining"

        found = upkeep._shut_down(Client(), process.pid, 30)  # type: ignore[arg-type]
    assert found == {"pid": process.pid, "phase": "draining", "ended": True}


def test_a_runner_in_another_container_is_told_but_can_not_be_waited_for() -> None:
    class Client:
        def ask(self, call: str) -> str:
            return "draining"

    assert upkeep._shut_down(Client(), 0, None)["phase"] == "draining"  # type: ignore[arg-type]
    with pytest.raises(CommandError, match="can not be waited for from here"):
        upkeep._shut_down(Client(), 0, 5)  # type: ignore[arg-type]


def test_the_lock_is_free_after_every_command(graceful: Console, store_path: Path) -> None:
    for words in (["status"], ["queues"], ["check"], ["repair"]):
        graceful(*words)
        lock = OwnerLock(store_path)
        lock.acquire("runner", patience=0)
        lock.release()
