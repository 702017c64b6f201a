"""Regions: what runs in them is interrupted, what comes after them never is."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import pytest

from django_graceful import Cancelled, interrupts
from django_graceful.interrupts import Region, cancelled_as
from tests.harness import PATIENCE, until
from tests.web import urls

NUMBER = signal.SIGRTMIN + 7


@pytest.fixture
def main_signal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The main thread is interrupted by a signal, for this test."""
    before = signal.getsignal(NUMBER)
    monkeypatch.setattr(interrupts, "_signal", 0)
    interrupts.use_signal(NUMBER)
    yield
    signal.signal(NUMBER, before)


def told(reason: str = "cancel") -> type[Cancelled]:
    return cancelled_as(reason, lambda: None)


def spin(seconds: float = PATIENCE) -> str:
    """Bytecode, for a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return "to its end"


class Worker:
    """A thread that calls what it is given, one after the other, as a server's does."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[tuple[Callable[[], Any], SimpleQueue[Any]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            function, answer = call
            try:
                answer.put(function())
            except BaseException as error:
                answer.put(error)

    def begin(self, function: Callable[[], Any]) -> SimpleQueue[Any]:
        answer: SimpleQueue[Any] = SimpleQueue()
        self._calls.put((function, answer))
        return answer

    def close(self) -> None:
        self._calls.put(None)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


@pytest.fixture
def worker() -> Iterator[Worker]:
    found = Worker()
    yield found
    found.close()


def test_what_runs_in_a_thread_gets_the_exception_with_its_reason(worker: Worker) -> None:
    region, seen = Region(), threading.Event()
    answer = worker.begin(lambda: region.run(spin))
    until(lambda: region.busy, "the region to begin")
    assert region.interrupt(cancelled_as("shutdown", seen.set))
    error = answer.get(timeout=PATIENCE)
    assert type(error).__name__ == "Cancelled"
    assert (type(error) is not Cancelled, error.reason, str(error)) == (True, "shutdown", "shutdown")
    assert seen.is_set()
    assert not region.busy


def test_a_region_passes_arguments_results_and_errors_on() -> None:
    def work(number: int, *, word: str) -> str:
        if not number:
            raise ValueError(word)
        return f"{word} {number}"

    assert Region().run(work, 7, word="seven") == "seven 7"
    with pytest.raises(ValueError, match="nothing"):
        Region().run(work, 0, word="nothing")


def test_an_interrupt_reaches_nothing_before_and_nothing_after_the_region(worker: Worker) -> None:
    region = Region()
    assert not region.interrupt(told())
    assert worker.begin(lambda: region.run(lambda: "quick")).get(timeout=PATIENCE) == "quick"
    assert not region.interrupt(told())
    assert worker.begin(lambda: spin(0.05)).get(timeout=PATIENCE) == "to its end"


def test_a_run_is_interrupted_once_and_the_next_run_of_the_region_again(worker: Worker) -> None:
    def deaf() -> str:
        with pytest.raises(Cancelled):
            spin()
        return spin(0.1)

    region = Region()
    for _ in range(2):
        answer = worker.begin(lambda: region.run(deaf))
        until(lambda: region.busy, "the region to begin")
        assert region.interrupt(told())
        assert not region.interrupt(told())
        assert answer.get(timeout=PATIENCE) == "to its end"


def test_what_is_still_on_its_way_at_the_end_of_a_run_is_taken_back(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[int, object]] = []
    monkeypatch.setattr(interrupts, "_set_async_exc", lambda thread, kind: sent.append((thread, kind)))
    region, go = Region(), SimpleQueue[None]()
    answer = worker.begin(lambda: region.run(go.get))
    until(lambda: region.busy, "the region to begin")
    kind = told()
    assert region.interrupt(kind)
    go.put(None)
    assert answer.get(timeout=PATIENCE) is None
    assert sent == [(region.thread, kind), (region.thread, interrupts._NOTHING)]
    assert worker.begin(lambda: region.run(str)).get(timeout=PATIENCE) == ""
    assert len(sent) == 2


def test_a_thread_that_is_just_being_started_is_not_hit_in_place_of_its_parent(
    worker: Worker, restless: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.11 knows a new thread by its parent's number until it runs: here it takes long to begin."""
    begun, inside, hits = threading.Event(), threading.Event(), []
    name = "_start_new_thread" if hasattr(threading, "_start_new_thread") else "_start_joinable_thread"
    real = getattr(threading, name)

    def slow(*arguments: Any, **options: Any) -> Any:
        inside.set()
        time.sleep(0.2)
        return real(*arguments, **options)

    def child() -> None:
        try:
            begun.set()
            spin(0.1)
        except BaseException as error:
            hits.append(error)

    def view() -> None:
        monkeypatch.setattr(threading, name, slow)
        try:
            threading.Thread(target=child).start()
        finally:
            monkeypatch.setattr(threading, name, real)
        spin()

    region = Region()
    answer = worker.begin(lambda: region.run(view))
    assert inside.wait(PATIENCE)
    begin = time.monotonic()
    assert region.interrupt(told())
    assert isinstance(answer.get(timeout=PATIENCE), Cancelled)
    if sys.version_info < (3, 12):
        assert time.monotonic() - begin > 0.1
        assert begun.is_set()
    assert hits == []


def test_the_way_to_a_run_that_is_over_stays_closed(worker: Worker) -> None:
    """For a canceller that has just looked it up."""
    region = Region()
    way: Any = worker.begin(lambda: region.run(lambda: region._way)).get(timeout=PATIENCE)
    assert not way.send(told())
    assert worker.begin(lambda: spin(0.05)).get(timeout=PATIENCE) == "to its end"


def test_no_interrupt_ever_hits_the_next_run_of_the_same_thread(worker: Worker, restless: None) -> None:
    """Thousands of short runs, interrupted at random moments: what is not in the region is never hit."""
    chance = random.Random(5)
    hits = misses = rounds = 0
    end_of_test = time.monotonic() + PATIENCE
    while (rounds < 1500 or min(hits, misses) < 20) and time.monotonic() < end_of_test:
        rounds += 1
        region, kind = Region(), told()
        outside: list[str] = []

        def request(region: Region = region, outside: list[str] = outside) -> str:
            try:
                region.run(spin, 0.0002)
                inner = "done"
            except Cancelled:
                inner = "hit"
            try:
                for _ in range(200):
                    pass
            except BaseException as error:
                outside.append(repr(error))
            return inner

        answer = worker.begin(request)
        pause = chance.random() * 0.0005
        end = time.monotonic() + pause
        while time.monotonic() < end:
            time.sleep(0)
        region.interrupt(kind)
        result = answer.get(timeout=PATIENCE)
        assert result in ("hit", "done"), result
        assert outside == []
        hits += result == "hit"
        misses += result == "done"
    assert min(hits, misses) >= 20


def test_a_thread_does_not_interrupt_itself() -> None:
    region = Region()
    assert region.run(lambda: region.interrupt(told())) is False


def test_an_exception_that_comes_while_the_region_ends_spoils_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    class Late:
        """Its exception arrives in the very moment in which the run is over."""

        def __init__(self) -> None:
            self.kind: type[Cancelled] | None = told()
            self.closed = 0

        def send(self, kind: type[Cancelled]) -> bool:
            return False

        def close(self) -> None:
            self.closed += 1
            if self.closed == 1:
                raise self.kind  # type: ignore[misc]

    late = Late()
    monkeypatch.setattr(interrupts, "_way_here", lambda: late)
    region = Region()
    assert region.run(lambda: "result") == "result"
    assert (late.closed, region.busy) == (2, False)
    late.closed = 0
    with pytest.raises(KeyError):
        region.run({}.__getitem__, "its own error")


def test_somebody_elses_exception_travels_on_when_it_comes_while_the_region_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Foreign:
        kind = None
        closed = 0

        def send(self, kind: type[Cancelled]) -> bool:
            return False

        def close(self) -> None:
            self.closed += 1
            if self.closed == 1:
                raise Cancelled("timeout")

    monkeypatch.setattr(interrupts, "_way_here", Foreign)
    region = Region()
    with pytest.raises(Cancelled, match="timeout"):
        region.run(lambda: "result")
    assert not region.busy


def interrupting(region: Region, after: float, kind: type[Cancelled]) -> threading.Thread:
    def body() -> None:
        time.sleep(after)
        region.interrupt(kind)

    thread = threading.Thread(target=body)
    thread.start()
    return thread


def test_the_signal_ends_a_sleep_of_the_main_thread(main_signal: None) -> None:
    region = Region()
    thread = interrupting(region, 0.1, told("timeout"))
    begin = time.monotonic()
    with pytest.raises(Cancelled, match="timeout"):
        region.run(time.sleep, 60)
    assert time.monotonic() - begin < 10
    thread.join(PATIENCE)


def knocking() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "graceful-interrupt"]


def test_the_signal_interrupts_once_and_leaves_the_cleanup_alone(main_signal: None) -> None:
    def view() -> str:
        try:
            time.sleep(60)
        finally:
            time.sleep(0.2)  # ten times as long as the signal takes to come again
            urls.said.append("cleaned up")
        return "never"

    urls.said.clear()
    region = Region()
    thread = interrupting(region, 0.05, told())
    with pytest.raises(Cancelled):
        region.run(view)
    thread.join(PATIENCE)
    assert urls.said == ["cleaned up"]
    until(lambda: not knocking(), "the signals to end")


def test_without_a_signal_the_main_thread_is_reached_as_any_other() -> None:
    region = Region()
    thread = interrupting(region, 0.05, told())
    with pytest.raises(Cancelled):
        region.run(spin)
    thread.join(PATIENCE)


def test_a_signal_that_nobody_asked_for_changes_nothing(main_signal: None) -> None:
    signal.raise_signal(NUMBER)
    assert Region().run(lambda: signal.raise_signal(NUMBER)) is None


def test_a_late_signal_hits_neither_the_next_run_nor_what_is_outside(main_signal: None) -> None:
    region = Region()
    way: Any = region.run(lambda: region._way)
    way.send(told())
    thread = threading.Thread(target=way.send, args=(told(),))
    thread.start()
    thread.join(PATIENCE)
    assert way.kind is None
    until(lambda: not knocking(), "no signal on its way", 5)
    signal.raise_signal(NUMBER)
    assert Region().run(lambda: signal.raise_signal(NUMBER) or "untouched") == "untouched"


def test_inside_of_another_region_of_the_main_thread_each_is_reached(main_signal: None) -> None:
    outer, inner = Region(), Region()
    ready = threading.Event()

    def nested() -> str:
        with pytest.raises(Cancelled, match="inner"):
            inner.run(lambda: (ready.set(), time.sleep(60)))
        ready.set()
        time.sleep(60)
        return "never"

    def body() -> None:
        for region, word in ((inner, "inner"), (outer, "outer")):
            assert ready.wait(PATIENCE)
            ready.clear()
            region.interrupt(told(word))

    thread = threading.Thread(target=body)
    thread.start()
    with pytest.raises(Cancelled, match="outer"):
        outer.run(nested)
    thread.join(PATIENCE)
    assert interrupts._in_main is None


GREENLETS = """
from gevent import monkey; monkey.patch_all()
import time, gevent
from gevent.threadpool import ThreadPool
from django_graceful import Cancelled
from django_graceful.interrupts import Region, cancelled_as

region, told = Region(), cancelled_as("cancel", lambda: print("seen"))
def hit():
    try:
        region.run(time.sleep, 60)
    except Cancelled:
        print("hit")
    time.sleep(0.3)   # the next request of the same greenlet
    print("next untouched")
def other():
    Region().run(time.sleep, 0.3)
    print("other untouched")
begin = time.monotonic()
def late():
    brief = Region()
    brief.run(lambda: brief.interrupt(told))   # the hub comes to it when the run is over
    time.sleep(0.3)
    print("late untouched")
greenlets = [gevent.spawn(hit), gevent.spawn(other), gevent.spawn(late)]
gevent.sleep(0.1)
assert ThreadPool(1).apply(region.interrupt, (told,))
assert not region.interrupt(told)
gevent.joinall(greenlets)
assert not region.interrupt(told)
for greenlet in greenlets: greenlet.get()
assert time.monotonic() - begin < 30
"""


@pytest.mark.process
def test_a_greenlet_is_interrupted_and_no_other() -> None:
    done = subprocess.run([sys.executable, "-c", GREENLETS], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split("\n")) == ["", "hit", "late untouched", "next untouched", "other untouched", "seen"]
