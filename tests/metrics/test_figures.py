"""What a runner counts of a queue: exact numbers of runs, and times in the right buckets."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_graceful.items import Outcome, encode_record, new_id
from django_graceful.runner import link as module
from django_graceful.runner.figures import EDGES, Figures, Histogram
from django_graceful.runner.link import Link
from django_graceful.runner.slate import Slate
from django_graceful.runner.tally import Tally
from django_graceful.runner.wire import Done, Splitter, Unit, decode_from_worker
from django_graceful.stores.base import Ending, Lease

NOW = 1_790_000_000.0


def lease(waits: float, due: float = 0, execution: int = 1) -> Lease:
    """An item that was pushed so many seconds ago, and due so many seconds ago (0: at once)."""
    due_at = int((NOW - due) * 1e6) if due else 0
    return Lease(execution, encode_record(new_id(), b"1", pushed_at=int((NOW - waits) * 1e6), not_before=due_at))


@pytest.mark.parametrize(("seconds", "bucket"), [(0.0, 0), (0.005, 0), (0.0051, 1), (3600.0, 15), (3600.1, 16)])
def test_a_duration_is_in_the_bucket_whose_end_it_does_not_exceed(seconds: float, bucket: int) -> None:
    histogram = Histogram()
    histogram.observe(seconds, 3)
    assert histogram.counts[bucket] == sum(histogram.counts) == 3
    assert histogram.seconds == pytest.approx(3 * seconds)


def test_the_wait_ends_where_the_run_begins_and_starts_when_the_item_was_due() -> None:
    figures = Figures()
    figures.took([lease(waits=1000, due=20)], 1, 15.0, NOW)
    assert figures.waited.seconds == pytest.approx(5)
    assert figures.ran.seconds == 15
    figures.took([lease(waits=7)], 1, 2.0, NOW)
    assert figures.waited.seconds == pytest.approx(10)


def test_a_batch_is_one_run_of_many_items() -> None:
    figures = Figures()
    figures.took([lease(5)] * 20, 1, 3.0, NOW)
    assert (sum(figures.ran.counts), sum(figures.waited.counts)) == (1, 20)
    assert figures.waited.seconds == pytest.approx(40)


def test_other_clocks_and_damaged_records_are_a_wait_of_zero() -> None:
    figures = Figures()
    figures.took([lease(-60), Lease(2, b"\x01short")], 2, 0.0, NOW)
    assert figures.waited.counts[0] == 2
    assert figures.waited.seconds == 0


@given(st.integers(1, 2000))
def test_a_flood_is_sampled_and_every_item_counts(number: int) -> None:
    figures = Figures()
    leases = [lease(waits=10 - 8 * n / number) for n in range(number)]
    figures.took(leases, number, 0.001 * number, NOW)
    assert sum(figures.waited.counts) == sum(figures.ran.counts) == number
    began = 0.001 * number
    assert figures.waited.seconds == pytest.approx(sum(10 - 8 * n / number - began for n in range(number)), rel=0.05)


def test_figures_are_json_with_a_number_for_every_outcome() -> None:
    tally = Tally(max_crashes=2)
    tally.done("q", [lease(1), lease(1)], 0.1)
    tally.ended("q", lease(1), Ending(1, Outcome.CRASHED))
    tally.ended("q", Lease(1, encode_record(new_id(), b"1", pushed_at=1, crashes=1)), Ending(1, Outcome.CRASHED))
    tally.ended("other", lease(1), Ending(1, Outcome.INTERRUPTED))
    shown = {queue: json.loads(json.dumps(figures.shown())) for queue, figures in tally.figures.items()}
    assert set(shown) == {"q", "other"}
    assert shown["q"]["outcomes"] == {"done": 2, "retry": 0, "dead": 1, "cancelled": 0, "interrupted": 0, "crashed": 1}
    assert shown["q"]["crashes"] == 2, "also the one that ended as dead"
    assert len(shown["q"]["ran"]["counts"]) == len(EDGES) + 1


def test_a_worker_tells_a_slow_run_alone_so_that_its_time_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = socket.socketpair()
    slate = Slate(tmp_path / "slate", create=True)
    now = 1_000_000_000
    monkeypatch.setattr(module.time, "monotonic_ns", lambda: now)
    with ours, theirs:
        link = Link(theirs, -1, slate)
        link.tell()
        for execution, took in ((1, 1_000), (2, 2_000), (3, 9_000_000_000), (4, 1_000)):
            now += took
            link.done(Unit(0, "q", False, [lease(1, execution=execution)]), now - took)
        link.tell()
        frames = [decode_from_worker(*frame) for frame in Splitter().feed(ours.recv(1 << 16))]
    assert frames == [Done(2, 2, 3_000), Done(3, 1, 9_000_000_000), Done(4, 1, 1_000)]
    slate.close()
