from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from django_graceful.retry import backoff

MIDDLE = 0.5


def test_the_first_wait_is_the_base_and_each_further_one_doubles() -> None:
    assert [backoff(n, 2, 3600, MIDDLE) for n in (1, 2, 3, 4)] == [2, 4, 8, 16]


def test_the_wait_is_spread_by_a_quarter_in_both_directions() -> None:
    assert backoff(1, 100, 3600, 0.0) == 75
    assert backoff(1, 100, 3600, 0.999999) < 125
    assert backoff(1, 100, 3600, 0.999999) > 124.9


def test_items_that_failed_together_do_not_come_back_together_even_at_the_cap() -> None:
    waits = {round(backoff(50, 2, 3600, spread / 10)) for spread in range(10)}
    assert len(waits) == 10


@given(st.integers(1, 60_000), st.floats(0, 1e7), st.floats(0, 1e7), st.floats(0, 1, exclude_max=True))
def test_no_wait_is_negative_or_exceeds_the_cap(attempt: int, base: float, longest: float, spread: float) -> None:
    assert 0 <= backoff(attempt, base, longest, spread) <= longest * (1 + 1e-12)


def test_a_base_of_zero_means_at_once() -> None:
    assert backoff(7, 0, 3600, 0.9) == 0
