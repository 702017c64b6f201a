"""Cancel with real runners (promise P6): every kind of work, in every state; who, why and when; and the neighbours."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psutil
import pytest

from django_graceful.items import Outcome, State
from django_graceful.stores import get_store
from django_graceful.stores.base import CancelCount, CancelReply, Found
from tests.harness import Site, until
from tests.site import queues, timing
from tests.stable import Mount, Stable

pytestmark = pytest.mark.process

GRACE = 0.4
#: A command that ignores TERM, with a grandchild of the same kind in a session of its own; it speaks when it is there.
DEAF_FAMILY = """
trap '' TERM
setsid sh -c 'trap "" TERM; echo deaf >>"$GRACEFUL_TEST_OUT"; sleep 600' </dev/null >/dev/null 2>&1 &
while :; do sleep 0.1; done
"""


@dataclass
class Yard:
    """A runner, and what is asked of its store."""

    site: Site
    runner: Mount

    def get(self, item_id: str) -> Found | None:
        with get_store().admin() as admin:
            return admin.get(item_id)

    def becomes(self, item_id: str, state: State | None) -> Found | None:
        """Wait until the item is in this state; None: gone, for it is done."""

        def there() -> bool:
            found = self.get(item_id)
            return (None if found is None else found.state) is state

        until(there, f"{item_id} to be {state}")
        return self.get(item_id)

    def outcome(self, item_id: str) -> Any:
        """How the run that was asked to stop has ended."""
        with get_store().admin() as admin:
            return until(lambda: admin.cancel_outcome(item_id), f"{item_id} to end")

    def untouched(self, item_id: str) -> bool:
        """Whether nothing is counted against the item."""
        found = self.get(item_id)
        return found is None or (found.item.attempt, found.item.crashes, found.item.errors) == (0, 0, [])

    def cancelled(self, item_id: str) -> dict[str, Any]:
        """Wait until the item is cancelled, and no attempt, crash or error counted; what is kept of it."""
        found = self.becomes(item_id, State.CANCELLED)
        assert found is not None
        assert (found.item.attempt, found.item.crashes, found.item.errors) == (0, 0, [])
        return found.detail

    def end(self) -> int:
        """End the runner at once; its exit code. Nothing that it started is left."""
        self.runner.send(signal.SIGQUIT)
        code = self.runner.end()
        until(lambda: not survivors(self.site), f"{survivors(self.site)} to end")
        return code


def survivors(site: Site) -> list[psutil.Process]:
    """Whoever has the variables of the test's runner."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("GRACEFUL_TEST_OUT") == str(site.out):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


@pytest.fixture
def start(site: Site, stable: Stable) -> Iterator[Callable[..., Yard]]:
    yards: list[Yard] = []

    def begin(**extra: Any) -> Yard:
        env = {"GRACEFUL_TEST_EXTRA": json.dumps({"CANCEL_GRACE": GRACE, "KILL_AFTER": 0.3, **extra})}
        mount = stable.start(site.env | env, site.store.parent / "log")
        mount.says(" serves ")
        yards.append(Yard(site, mount))
        return yards[-1]

    yield begin
    for yard in yards:
        if psutil.pid_exists(yard.runner.pid):
            assert yard.end() in (0, 3, 4)


def worker_of(site: Site, n: int) -> int:
    """The pid of the worker in which item ``n`` began last."""
    line = [line for line in site.lines() if line.startswith(f"start {n} ")][-1]
    return int(line.split()[2])


#: What runs → its queue, what is in its payload, and whether it has to be killed (None: that may be).
KINDS: dict[str, tuple[Any, dict[str, Any], bool | None]] = {
    "a sleep of an hour": (queues.single, {"seconds": 3600}, False),
    "a sleep that begins just after the signal": (timing.unlucky, {}, False),
    "a loop in Python": (queues.loop, {}, False),
    "a wait in C that lets others run": (queues.stuck, {"gil": False}, True),
    "a wait in C with the interpreter's lock": (queues.stuck, {"gil": True}, True),
    "what swallows every exception": (queues.stubborn, {}, True),
    "a coroutine": (queues.coroutine, {"seconds": 3600}, False),
    "a deaf command with a deaf grandchild": (queues.command, {"argv": ["sh", "-c", DEAF_FAMILY]}, None),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_runs_is_cancelled_with_who_why_and_when_and_the_next_item_runs(
    site: Site, start: Callable[..., Yard], kind: str
) -> None:
    queue, payload, killed = KINDS[kind]
    first, second = queue.push_many([{"n": 0, **payload}, {"n": 1, **payload}])
    yard = start()
    site.said("deaf" if queue is queues.command else "start 0")
    assert queue.cancel(first, by="eve", reason="enough") is CancelReply.ASKED
    detail = yard.cancelled(first)
    assert (detail["by"], detail["reason"]) == ("eve", "enough")
    steps = [detail[name] for name in ("asked_at", "stopping_at", "killed_at", "cancelled_at") if name in detail]
    assert steps == sorted(steps)
    assert "stopping_at" in detail
    assert killed is None or ("killed_at" in detail) is killed
    if "killed_at" in detail:
        assert detail["killed_at"] - detail["stopping_at"] >= GRACE * 0.9
    assert yard.outcome(first).outcome is Outcome.CANCELLED
    site.said("start 1")
    running = yard.becomes(second, State.RUNNING)
    assert running is not None
    assert "cancel" not in running.detail
    assert yard.untouched(second)
    assert len([line for line in site.lines() if line.startswith("start 0")]) == 1
    yard.end()


def test_while_it_stops_the_item_shows_who_asked_and_how_far_it_is(site: Site, start: Callable[..., Yard]) -> None:
    (item_id,) = queues.stubborn.push_many([{"n": 0}])
    yard = start(CANCEL_GRACE=60)
    site.said("start 0")
    queues.stubborn.cancel(item_id, by="eve", reason="enough")
    site.said("swallowed")

    def wish() -> Any:
        found = yard.get(item_id)
        shown = found.detail["cancel"] if found is not None else {}
        return shown if shown.get("stopping_at") else None

    shown = until(wish, "the step to be shown")
    assert (shown["by"], shown["reason"], shown["killed_at"]) == ("eve", "enough", None)
    assert shown["asked_at"] <= shown["stopping_at"]
    assert queues.stubborn.cancel(item_id, by="adam") is CancelReply.ASKED
    assert wish()["by"] == "eve"
    yard.end()
    with get_store().admin(alone=True) as admin:
        found = admin.get(item_id)
    assert found is not None
    assert (found.state, found.detail["by"], found.detail["reason"]) == (State.CANCELLED, "eve", "enough")


def test_a_run_that_is_done_first_stays_done_and_whoever_asked_is_told(site: Site, start: Callable[..., Yard]) -> None:
    item_id = queues.closing.push({"n": 0})
    yard = start()
    site.said("start 0")
    done = site.manage("graceful", "cancel", item_id, "--wait", "20", "--reason", "enough")
    assert done.returncode == 0, done.stderr
    assert "finished first (done) 0." in done.stdout
    assert yard.get(item_id) is None
    outcome = yard.outcome(item_id)
    assert (outcome.outcome, outcome.wish.reason) == (Outcome.DONE, "enough")
    assert yard.end() == 0


@pytest.mark.parametrize("deaf", [False, True])
def test_waiting_on_the_command_line_tells_how_a_run_was_ended(
    site: Site, start: Callable[..., Yard], deaf: bool
) -> None:
    queue: Any = queues.stubborn if deaf else queues.single
    item_id = queue.push({"n": 0, "seconds": 3600})
    start()
    site.said("start 0")
    done = site.manage("graceful", "cancel", item_id, "--wait")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{item_id}: {'killed' if deaf else 'cancelled'} after ")


def test_what_waits_in_any_way_is_cancelled_at_once(site: Site, start: Callable[..., Yard]) -> None:
    yard = start(QUEUES={"flaky": {"BACKOFF": 3600}})
    with get_store().admin() as admin:
        admin.pause("record")
    retrying = queues.flaky.push({"n": 0, "fails": 1})
    cases = {queues.record.push("x"): queues.record, queues.wide.push("later", delay=3600): queues.wide}
    yard.becomes(retrying, State.RETRYING)
    for item_id, queue in {**cases, retrying: queues.flaky}.items():
        assert queue.cancel(item_id, by="eve", reason="enough") is CancelReply.CANCELLED
        found = yard.get(item_id)
        assert found is not None
        assert (found.state, found.detail["by"], found.detail["reason"]) == (State.CANCELLED, "eve", "enough")
        assert queue.cancel(item_id) is CancelReply.UNKNOWN
    with get_store().admin() as admin:
        admin.resume("record")
    queues.record.push("after")
    site.said("record after")
    assert "record x" not in site.lines()
    assert yard.end() == 0


def test_an_item_of_another_queue_is_unknown(site: Site, start: Callable[..., Yard]) -> None:
    item_id = queues.single.push({"n": 0, "seconds": 3600})
    yard = start()
    site.said("start 0")
    assert queues.slow.cancel(item_id) is CancelReply.UNKNOWN
    assert queues.slow.cancel("nonsense") is CancelReply.UNKNOWN
    found = yard.get(item_id)
    assert found is not None
    assert "cancel" not in found.detail


def test_one_that_is_about_to_start_is_cancelled_and_its_neighbours_run_once(
    site: Site, start: Callable[..., Yard]
) -> None:
    """Many quick ones, so that a worker holds many; then a slow one, with prefetched ones behind it."""
    ids = queues.single.push_many({"n": n, "seconds": 3600 if n == 300 else 0} for n in range(320))
    yard = start()
    site.said("start 300")
    queues.single.cancel(ids[305], reason="about to start")
    queues.single.cancel(ids[300])
    assert yard.cancelled(ids[305])["reason"] == "about to start"
    yard.cancelled(ids[300])
    site.said("end 319")
    ran = [int(line.split()[1]) for line in site.lines() if line.startswith("end ")]
    assert sorted(ran) == [n for n in range(320) if n not in (300, 305)]
    assert not [line for line in site.lines() if line.startswith("start 305")]
    assert yard.end() == 0


def test_a_cancel_of_a_whole_queue_stops_its_runs_and_empties_it(site: Site, start: Callable[..., Yard]) -> None:
    ids = queues.slow.push_many({"n": n, "seconds": 3600} for n in range(2))
    yard = start()
    for n in range(2):
        site.said(f"start {n} ")
    waiting = queues.slow.push_many({"n": n, "seconds": 3600} for n in range(10, 2510))
    later = queues.slow.push({"n": 9999, "seconds": 0}, delay=3600)
    other = queues.single.push({"n": 3, "seconds": 3600})
    site.said("start 3 ")
    found = queues.slow.cancel_all(by="eve", reason="enough")
    assert found.cancelled + found.asked == 2503
    assert found.asked >= 2
    for item_id in (*ids, waiting[0], waiting[-1], later):
        detail = yard.cancelled(item_id)
        assert (detail["by"], detail["reason"]) == ("eve", "enough")
    with get_store().admin() as admin:
        counts = until(lambda: c if (c := admin.counts()["slow"]).running == 0 else None, "the runs to end")
    assert (counts.cancelled, counts.stopped, counts.waiting + counts.scheduled) == (2503, 2503, 0)
    queues.slow.push({"n": 4, "seconds": 0})
    site.said("end 4")
    assert not [line for line in site.lines() if line.startswith("end 1")]
    still = yard.get(other)
    assert still is not None
    assert (still.state, "cancel" in still.detail) == (State.RUNNING, False)
    assert queues.slow.cancel_all() == CancelCount()


def test_with_a_key_only_its_run_is_stopped(site: Site, start: Callable[..., Yard]) -> None:
    mine, other = queues.unique.push_many(
        [{"key": "a", "n": 1, "seconds": 3600}, {"key": "b", "n": 2, "seconds": 3600}]
    )
    yard = start()
    site.said("start a")
    site.said("start b")
    assert queues.unique.cancel_all(key="a") == CancelCount(0, 1)
    yard.cancelled(mine)
    still = yard.get(other)
    assert still is not None
    assert "cancel" not in still.detail


# Batches


@pytest.mark.parametrize("hold", ["hears", "deaf"])
def test_in_a_batch_only_the_one_that_was_named_is_cancelled(site: Site, start: Callable[..., Yard], hold: str) -> None:
    handled, named, other = queues.crate.push_many([{"n": 0, "handled": True}, {"n": 1, "hold": hold}, {"n": 2}])
    yard = start()
    site.said("crate")
    assert queues.crate.cancel(named, by="eve", reason="this one") is CancelReply.ASKED
    detail = yard.cancelled(named)
    assert (detail["by"], detail["reason"], "killed_at" in detail) == ("eve", "this one", hold == "deaf")
    yard.becomes(other, None)
    assert yard.get(handled) is None
    first, second = [line.split() for line in site.lines()]
    assert (first[2:], second[2:]) == (["0", "1", "2"], ["2"])
    assert first[1] != second[1], "the interrupted worker is retired"
    with get_store().admin() as admin:
        counts = admin.counts()["crate"]
    assert (counts.done, counts.stopped, counts.died, counts.retried) == (2, 1, 0, 0)
    yard.runner.send(signal.SIGTERM)
    assert yard.runner.end() == (4 if hold == "deaf" else 0), "no shutdown interrupted anything"


@pytest.mark.parametrize("hold", ["hears", "deaf"])
def test_neighbours_in_a_cancelled_batch_are_not_charged(site: Site, start: Callable[..., Yard], hold: str) -> None:
    named, other, third = queues.crate.push_many([{"n": 0}, {"n": 1, "hold": hold}, {"n": 2}])
    yard = start()
    site.said("crate")
    queues.crate.cancel(named)
    yard.cancelled(named)
    until(lambda: len(site.lines()) == 2, "the others to run again")
    assert site.lines()[1].split()[2:] == ["1", "2"], "in their order"
    assert yard.untouched(other)
    assert yard.untouched(third)
    queues.crate.cancel(third)
    yard.cancelled(third)
    until(lambda: len(site.lines()) == 3, "the last one to run again")
    assert yard.untouched(other)
    assert yard.end() in (3, 4)


def test_two_of_a_batch_are_cancelled_and_the_third_runs(site: Site, start: Callable[..., Yard]) -> None:
    first, second, third = queues.crate.push_many([{"n": 0}, {"n": 1, "hold": "deaf"}, {"n": 2}])
    yard = start()
    site.said("crate")
    queues.crate.cancel(first, reason="one")
    queues.crate.cancel(second, reason="two")
    details = [yard.cancelled(item_id) for item_id in (first, second)]
    assert [detail["reason"] for detail in details] == ["one", "two"]
    assert all("stopping_at" in detail and "killed_at" in detail for detail in details)
    yard.becomes(third, None)


def test_a_whole_batch_is_cancelled_with_its_queue(site: Site, start: Callable[..., Yard]) -> None:
    ids = queues.crate.push_many([{"n": 0, "handled": True}, {"n": 1, "hold": "hears"}, {"n": 2}, {"n": 3}])
    yard = start()
    site.said("crate")
    found = queues.crate.cancel_all(by="eve")
    assert (found.cancelled, found.asked) == (1, 3)
    for item_id in ids[1:]:
        assert yard.cancelled(item_id)["by"] == "eve"
    yard.becomes(ids[0], None)
    assert yard.outcome(ids[0]).outcome is Outcome.DONE
    assert len(site.lines()) == 1
    with get_store().admin() as admin:
        counts = admin.counts()["crate"]
    assert (counts.done, counts.stopped, counts.waiting, counts.running) == (1, 3, 0, 0)
