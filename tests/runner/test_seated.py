"""One unit in its seat, without a worker around it: how it ends, and that a stop meets it and nothing after it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from django_graceful import current_process, queue
from django_graceful import queues as registry
from django_graceful.items import Outcome, encode_payload, encode_record, new_id
from django_graceful.runner.seated import InThread, Seated
from django_graceful.runner.slate import Slate, SlateDirectory, Why
from django_graceful.runner.tidying import Tidier
from django_graceful.runner.wire import Unit
from django_graceful.stores.base import Lease


class Untidy(Tidier):
    """Leaves the connections alone that other tests have opened."""

    def after(self) -> None:
        """There are none of ours."""


@pytest.fixture(autouse=True)
def _registry(monkeypatch: pytest.MonkeyPatch, store_path: Path) -> None:
    monkeypatch.setattr(registry, "_registry", {})


@pytest.fixture
def slate(tmp_path: Path) -> Iterator[Slate]:
    found = SlateDirectory(tmp_path / "slates").create("w")
    yield found
    found.close()


def sit(slate: Slate, handler: Callable[[Any], Any], execution: int = 5, left: list[Seated] | None = None) -> InThread:
    queue("seated", threads=2)(handler)
    record = encode_record(new_id(), encode_payload(1, 100), pushed_at=1)
    unit = Unit(0, "seated", False, [Lease(execution, record)])
    return InThread(unit, 0, slate, [].append if left is None else left.append)


def test_success_empties_the_seat_and_needs_no_report(slate: Slate) -> None:
    left: list[Seated] = []
    run = sit(slate, lambda payload: None, left=left)
    assert slate.seats() == {5: run.began}
    run.run(Untidy())
    assert (run.report, run.failure, slate.seats(), left) == (None, None, {}, [run])
    assert slate.progress().ended(5)


def test_a_failure_keeps_its_seat_until_it_is_written_down(slate: Slate) -> None:
    run = sit(slate, lambda payload: payload / 0)
    run.run(Untidy())
    assert run.report is not None
    assert [ending.outcome for ending in run.report.endings] == [Outcome.RETRY]
    assert not run.report.retiring
    assert set(slate.seats()) == {5}


def test_exit_in_a_handler_is_its_failure_and_not_the_threads(slate: Slate) -> None:
    run = sit(slate, lambda payload: exit(3))
    run.run(Untidy())
    assert run.failure is None
    assert run.report is not None


def test_who_was_told_to_stop_before_the_beginning_never_begins(slate: Slate) -> None:
    called: list[Any] = []
    run = sit(slate, called.append)
    run.stop(Why.CANCEL)
    run.run(Untidy())
    assert called == []
    assert run.report is not None
    assert ([ending.outcome for ending in run.report.endings], run.report.retiring) == ([Outcome.CANCELLED], True)


def test_who_is_told_to_stop_after_the_end_is_done_and_nothing_is_on_its_way(slate: Slate) -> None:
    run = sit(slate, lambda payload: None)
    run.run(Untidy())
    run.stop(Why.CANCEL)
    time.sleep(0.01)
    assert run.report is None


@pytest.mark.parametrize(
    ("why", "outcome"),
    [(Why.CANCEL, Outcome.CANCELLED), (Why.SHUTDOWN, Outcome.INTERRUPTED)],
)
def test_a_stop_reaches_the_handler_and_its_process_says_why(slate: Slate, why: Why, outcome: Outcome) -> None:
    begun, seen = threading.Event(), []

    def handler(payload: Any) -> None:
        process = current_process()
        assert process is not None
        begun.set()
        try:
            while True:
                time.sleep(0.001)
        finally:
            seen.append(process.stop)

    run = sit(slate, handler)
    thread = threading.Thread(target=run.run, args=(Untidy(),))
    thread.start()
    assert begun.wait(10)
    run.stop(why)
    run.stop(Why.TIMEOUT)  # the first one counts
    thread.join(10)
    assert not thread.is_alive()
    assert run.report is not None
    assert [ending.outcome for ending in run.report.endings] == [outcome]
    assert seen[0].reason == why.name.lower()
    assert seen[0].stopping_at is not None


def test_stops_at_every_moment_hit_the_run_they_are_meant_for_or_nothing(slate: Slate) -> None:
    """One thread runs one after the other while another one stops each of them, sooner or later."""
    runs: list[InThread] = []
    ready = threading.Semaphore(0)

    def stopper() -> None:
        for n in range(400):
            ready.acquire()
            for _ in range(n % 40 * 5):
                pass
            runs[n].stop(Why.CANCEL)

    thread = threading.Thread(target=stopper)
    thread.start()
    tidier = Untidy()
    for n in range(400):
        run = sit(slate, lambda payload: sum(range(300)), execution=n + 1)
        runs.append(run)
        ready.release()
        run.run(tidier)
        assert run.failure is None
        endings = [] if run.report is None else run.report.endings
        assert all(ending.outcome is Outcome.CANCELLED for ending in endings)
    thread.join(10)
