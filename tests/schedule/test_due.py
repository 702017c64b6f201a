"""What to do now: on time, late, missed, with a clock that steps. Pure."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_graceful.schedule.due import LATE, TRUSTED, Decision, decide, next_tick
from django_graceful.schedule.rules import Every
from django_graceful.schedule.spec import Missed

HOURLY = Every(3600)
NOON = 1_700_006_400 // 3600 * 3600
both = pytest.mark.parametrize("missed", list(Missed))


@both
def test_before_its_time_nothing_is_due(missed: Missed) -> None:
    assert decide(HOURLY, missed, NOON, NOON + 3599) is None
    assert next_tick(HOURLY, NOON, NOON + 5) == NOON + 3600


@both
@pytest.mark.parametrize("late", [0, 1, LATE])
def test_a_tick_runs_at_its_time_and_when_it_is_a_little_late(missed: Missed, late: int) -> None:
    assert decide(HOURLY, missed, NOON, NOON + 3600 + late) == Decision(NOON + 3600, NOON + 3600)


def test_missed_ticks_are_skipped() -> None:
    assert decide(HOURLY, Missed.SKIP, NOON, NOON + 5 * 3600 + LATE + 1) == Decision(NOON + 5 * 3600)


def test_or_one_run_makes_up_for_all_of_them() -> None:
    assert decide(HOURLY, Missed.ONCE, NOON, NOON + 5 * 3600 + LATE + 1) == Decision(NOON + 5 * 3600, NOON + 5 * 3600)


@both
def test_the_latest_of_many_missed_ones_runs_when_it_is_on_time(missed: Missed) -> None:
    assert decide(HOURLY, missed, NOON, NOON + 5 * 3600 + 1) == Decision(NOON + 5 * 3600, NOON + 5 * 3600)


@both
@pytest.mark.parametrize("back", [1, 60, TRUSTED])
def test_a_clock_that_steps_back_repeats_nothing(missed: Missed, back: int) -> None:
    assert decide(HOURLY, missed, NOON, NOON - back) is None
    assert next_tick(HOURLY, NOON, NOON - back) == NOON + 3600


@both
def test_a_last_tick_far_in_the_future_was_a_mistake_of_the_clock_and_it_starts_over(missed: Missed) -> None:
    now = NOON - TRUSTED - 1
    assert decide(HOURLY, missed, NOON, now) == Decision(now)
    assert next_tick(HOURLY, NOON, now) == NOON - TRUSTED


@settings(deadline=None)
@given(st.integers(1, 5000), st.sampled_from(Missed), st.lists(st.integers(-4000, 9000), max_size=60))
def test_whatever_the_clock_does_no_tick_runs_twice_until_the_schedule_starts_over(
    period: int, missed: Missed, steps: list[int]
) -> None:
    rule, last, now = Every(period), NOON, NOON
    ran: set[int] = set()
    for step in steps:
        now += step
        decision = decide(rule, missed, last, now)
        if decision is None:
            continue
        if decision.last < last:
            assert last > now + TRUSTED
            ran.clear()
        if decision.run is not None:
            assert decision.run == decision.last <= now
            assert decision.run not in ran
            ran.add(decision.run)
        last = decision.last
