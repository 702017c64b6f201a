"""What a worker holds, as the master knows it from tokens and slate; the seats of a slate; no process here."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_graceful.items import TIMED, Outcome, encode_meta, encode_record, new_id
from django_graceful.runner.dispatch import CHUNK_MOST, CHUNK_SECONDS, Lane
from django_graceful.runner.hands import Hands
from django_graceful.runner.slate import Slate, SlateDirectory, Why, Word
from django_graceful.runner.wire import Done, Ended, Kind, Splitter, decode_from_worker, encode_ended
from django_graceful.stores.base import Lease, Progress
from django_graceful.stores.engine.fates import verdict


@pytest.fixture
def slate(tmp_path: Path) -> Iterator[Slate]:
    found = SlateDirectory(tmp_path).create("w")
    yield found
    found.close()


@pytest.fixture
def hands(slate: Slate) -> Iterator[Hands]:
    found = Hands(slate)
    yield found
    found.close()


def lease(execution: int, timeout: float | None = None) -> Lease:
    meta = encode_meta({"timeout": timeout}) if timeout else b""
    return Lease(execution, encode_record(new_id(), b"1", pushed_at=1, flags=TIMED if timeout else 0, meta=meta))


def give(hands: Hands, *executions: int, timeout: float | None = None) -> None:
    hands.give("q", [lease(e) for e in executions], lambda data: None, batch=False, timeout=timeout)


def begin(hands: Hands, number: int = 1) -> None:
    """As a worker does that reads tokens."""
    assert len(os.read(hands.tokens, number)) == number


def running(hands: Hands) -> list[int]:
    return [run.unit.last for run in hands.runs()]


# seats


def test_who_has_a_seat_runs_though_younger_ones_have_ended(slate: Slate) -> None:
    for seat, execution in enumerate((5, 6, 7)):
        slate.sit(seat, execution)
    slate.rise(1)
    progress = slate.progress()
    assert progress == Progress(7, 7, running=frozenset({5, 7}))
    assert [progress.ended(execution) for execution in (4, 5, 6, 7, 8)] == [True, False, True, False, False]


def test_after_a_crash_each_seat_is_a_crash_and_the_rest_is_done_or_never_began() -> None:
    progress = Progress(7, 7, running=frozenset({5, 9}))
    outcomes = [verdict(progress, execution, lease(execution).record) for execution in (4, 5, 6, 7, 8, 9)]
    assert outcomes == [Outcome.DONE, Outcome.CRASHED, Outcome.DONE, Outcome.DONE, None, None]


@pytest.mark.parametrize("writes", range(6))
def test_killed_between_any_two_words_of_its_beginning_an_item_is_never_called_done(slate: Slate, writes: int) -> None:
    class Words:
        """Words that stop being written after some writes, as SIGKILL does it."""

        def __init__(self, words: memoryview) -> None:
            self.words, self.left = words, writes

        def __getitem__(self, at: int) -> int:
            return int(self.words[at])

        def __setitem__(self, at: int, value: int) -> None:
            if self.left:
                self.left -= 1
                self.words[at] = value

    slate.sit(0, 5)
    real = slate.words
    slate.words = Words(real)  # type: ignore[assignment]
    slate.sit(1, 6)
    slate.words = real
    assert verdict(slate.progress(), 6, lease(6).record) in (None, Outcome.CRASHED)
    assert verdict(slate.progress(), 5, lease(5).record) is Outcome.CRASHED


def test_a_hundred_seats_and_a_batch_beside_them_fit_on_the_slate(slate: Slate) -> None:
    slate.open_batch(1, 10_000)
    for execution in range(1, 10_000):
        slate.mark(execution)
    for seat in range(100):
        slate.sit(seat, 20_000 + seat)
    for seat in range(100):
        slate.ask(20_000 + seat, Why.CANCEL)
    assert set(slate.seats()) == set(range(20_000, 20_100))
    assert [slate.asked(20_000 + seat) for seat in range(100)] == [Why.CANCEL] * 100


def test_a_wish_names_one_execution_and_its_place_is_used_again_when_that_has_ended(slate: Slate) -> None:
    slate.sit(0, 5)
    slate.sit(1, 6)
    slate.ask(6, Why.TIMEOUT)
    assert (slate.asked(5), slate.asked(6)) == (None, Why.TIMEOUT)
    slate.rise(1)
    for execution in range(7, 500):
        slate.sit(1, execution)
        slate.ask(execution, Why.CANCEL)
        assert slate.asked(execution) is Why.CANCEL
        slate.rise(1)
    assert slate.words[Word.WISHES] == 1
    assert slate.asked(5) is None


def test_a_wish_for_who_has_no_seat_yet_is_not_overwritten(slate: Slate) -> None:
    slate.sit(0, 5)
    slate.ask(8, Why.CANCEL)
    slate.ask(5, Why.TIMEOUT)
    assert (slate.asked(8), slate.asked(5)) == (Why.CANCEL, Why.TIMEOUT)


# hands


def test_what_has_its_token_runs_and_the_rest_can_be_taken_back_in_order(hands: Hands) -> None:
    give(hands, 1, 2, 3, 4)
    begin(hands, 2)
    assert running(hands) == [1, 2]
    assert [found.execution for found in hands.take_back()] == [3, 4]
    assert hands.take_back() == []
    assert running(hands) == [1, 2]


def test_what_ended_on_the_slate_does_not_run_before_anybody_has_told(hands: Hands, slate: Slate) -> None:
    give(hands, 1, 2, 3)
    begin(hands, 2)
    slate.words[Word.STARTED] = 2
    slate.words[Word.FINISHED] = 1
    assert running(hands) == [2]
    slate.words[Word.FINISHED] = 2
    assert running(hands) == []


def test_several_run_and_end_in_any_order(hands: Hands, slate: Slate) -> None:
    give(hands, 1, 2, 3, 4)
    begin(hands, 3)
    for seat in range(3):
        slate.sit(seat, seat + 1)
    slate.rise(1)
    assert running(hands) == [1, 3]
    assert [found.execution for found in hands.settle(Ended((2,), (5,)))] == [2]
    assert [unit.last for unit in hands.units] == [1, 3, 4]
    assert [found.execution for found in hands.take_back()] == [4]
    assert [found.execution for found in hands.settle_these([3, 1, 99])] == [1, 3]
    assert not hands.units


def test_done_settles_everything_up_to_it(hands: Hands) -> None:
    give(hands, 1, 2, 3)
    begin(hands, 2)
    assert [found.execution for found in hands.settle(Done(2, 2, 7))] == [1, 2]
    assert [unit.last for unit in hands.units] == [3]


def test_a_run_that_is_about_to_begin_has_run_for_no_time_whatever_ran_before(hands: Hands, slate: Slate) -> None:
    slate.words[Word.SINCE], slate.words[Word.STARTED], slate.words[Word.FINISHED] = 1, 4, 4
    give(hands, 5)
    begin(hands)
    assert [run.seconds for run in hands.runs()] == [0.0]
    slate.words[Word.STARTED] = 5
    assert hands.runs()[0].seconds > 1


def test_the_shortest_time_of_what_is_held_is_known(hands: Hands) -> None:
    give(hands, 1, 2)
    assert hands.shortest == math.inf
    hands.give("q", [lease(3, 7.0), lease(4, 2.0)], lambda data: None, batch=False, timeout=None)
    give(hands, 5, timeout=3.0)
    assert hands.shortest == 2.0
    assert [unit.limit for unit in hands.units] == [None, None, 7.0, 2.0, 3.0]
    begin(hands, 5)
    hands.settle(Done(5, 5, 1))
    give(hands, 6)
    assert hands.shortest == math.inf


def test_a_batch_is_one_unit_with_the_time_of_its_most_patient_item(hands: Hands) -> None:
    hands.give("q", [lease(1, 7.0), lease(2)], lambda data: None, batch=True, timeout=3.0)
    assert [unit.limit for unit in hands.units] == [7.0]
    found = hands.find(1)
    assert found is not None
    assert found.last == 2
    assert hands.find(3) is None


@given(st.dictionaries(st.integers(0, 2**64 - 1), st.integers(0, 2**63), max_size=30))
def test_what_ended_survives_the_wire(took: dict[int, int]) -> None:
    ended = Ended(tuple(took), tuple(took.values()))
    assert ended.busy == sum(took.values())
    [(kind, body)] = Splitter().feed(encode_ended(ended))
    assert kind == Kind.ENDED
    assert decode_from_worker(kind, body) == ended


# room


def test_a_worker_with_threads_gets_one_for_each_and_nothing_behind_slow_ones() -> None:
    lane = Lane("a", 2, threads=8)
    assert [lane.room(held, moving=True) for held in (0, 3)] == [8, 5]
    lane.learn(1, 0.2)
    assert [lane.room(held, moving=True) for held in (0, 7)] == [8, 1]
    assert [lane.full(held) for held in (0, 7, 8, 9)] == [False, False, True, True]


def test_behind_quick_ones_it_gets_the_next_milliseconds_of_work_as_long_as_they_end() -> None:
    lane = Lane("a", 2, threads=8)
    lane.learn(1, CHUNK_SECONDS / 4)
    rooms = [lane.room(8, moving=True) for _ in range(6)]
    assert rooms == [2, 4, 8, 16, 32, 32]
    assert [lane.full(held) for held in (8, 39, 40)] == [False, False, True]
    assert lane.room(8, moving=False) == 0
    assert lane.room(7, moving=False) == 1
    lane.learn(1, 0.0)
    assert lane.room(0, moving=True) <= 8 + CHUNK_MOST


def test_a_worker_without_threads_gets_a_chunk_and_another_one_only_while_items_are_quick() -> None:
    lane = Lane("a", 2)
    assert lane.room(0, moving=False) == 1
    assert (lane.full(0), lane.full(1)) == (False, True)
    lane.learn(1, CHUNK_SECONDS / 10)
    assert [lane.room(0, moving=True) for _ in range(5)] == [2, 4, 8, 10, 10]
    assert [lane.full(held) for held in (0, 10, 11)] == [False, False, True]


def test_a_worker_with_a_batch_gets_nothing_more() -> None:
    lane = Lane("a", 2, batch_length=5)
    assert lane.room(0, moving=True) == 5
    assert [lane.full(held) for held in (0, 1)] == [False, True]
