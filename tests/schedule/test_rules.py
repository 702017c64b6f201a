"""Which moments are ticks: periods, cron expressions, clocks that are changed, leap days. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_graceful.schedule.periods import parse_period, period_text
from django_graceful.schedule.rules import Cron, Every, Rule, find_zone, make_cron, make_every

YEAR = 366 * 86_400
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe")
EXPRESSIONS = (
    "*/5 * * * *",
    "30 2 * * *",
    "0 */3 * * *",
    "15 1,2 * * *",
    "0 0 29 2 *",
    "0 9 * * MON-FRI",
    "*/20 * * * * *",
)
moments = st.integers(1_600_000_000, 2_000_000_000)
rules = st.one_of(
    st.builds(Every, st.integers(1, 40 * 86_400)),
    st.builds(make_cron, st.sampled_from(EXPRESSIONS), st.sampled_from(ZONES).map(find_zone)),
)


def cron(expression: str, zone: str = "UTC") -> Cron:
    return make_cron(expression, find_zone(zone))


def at(text: str) -> int:
    """The moment of an ISO time with its offset."""
    return int(datetime.fromisoformat(text).timestamp())


def ticks(rule: Rule, start: str, end: str) -> list[str]:
    """The ticks after ``start`` and before ``end``, in UTC."""
    found = []
    moment = rule.after(at(start))
    while moment is not None and moment < at(end):
        found.append(datetime.fromtimestamp(moment, UTC).strftime("%m-%d %H:%M"))
        moment = rule.after(moment)
    return found


@pytest.mark.parametrize(
    ("given_", "seconds"),
    [
        ("10m", 600),
        ("1h30m", 5400),
        ("90s", 90),
        (" 2W ", 1_209_600),
        ("1d", 86_400),
        (5, 5),
        (2.0, 2),
        (timedelta(hours=2), 7200),
    ],
)
def test_a_period_is_said_in_many_ways(given_: Any, seconds: int) -> None:
    assert parse_period(given_) == seconds


@pytest.mark.parametrize(
    "given_",
    [
        "",
        "10",
        "10 m",
        "m",
        "-5m",
        "1m1h",
        "0s",
        0,
        -1,
        0.5,
        1.5,
        True,
        None,
        "54w",
        float("nan"),
        float("inf"),
        [],
        timedelta(0),
    ],
)
def test_what_is_no_period_is_an_error_that_shows_how_to_say_it(given_: Any) -> None:
    with pytest.raises(ValueError, match=r"'1h30m'.*not "):
        make_every(given_)


@given(st.integers(1, YEAR))
def test_a_period_is_shown_as_it_is_written(seconds: int) -> None:
    assert parse_period(period_text(seconds)) == seconds


def test_every_counts_from_the_epoch_so_all_nodes_agree() -> None:
    assert ticks(make_every("6h"), "2024-03-30T23:10:00+00:00", "2024-04-01T00:00:00+00:00") == [
        "03-31 00:00",
        "03-31 06:00",
        "03-31 12:00",
        "03-31 18:00",
    ]


@settings(deadline=None, max_examples=60)
@given(rules, moments)
def test_the_next_tick_is_later_and_the_latest_is_the_one_before_it(rule: Rule, moment: int) -> None:
    following = rule.after(moment)
    assert following is not None
    assert following > moment
    assert rule.latest(following, moment) == following
    assert rule.latest(following - 1, moment) is None
    later = rule.after(following)
    assert later is not None
    assert rule.latest(later - 1, moment) == following


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(EXPRESSIONS), st.sampled_from(ZONES), moments, st.integers(0, 3 * YEAR))
def test_the_latest_tick_after_a_long_time_has_none_after_it(expression: str, zone: str, since: int, span: int) -> None:
    rule = cron(expression, zone)
    latest = rule.latest(since + span, since)
    if latest is None:
        assert (rule.after(since) or 0) > since + span
    else:
        assert since < latest <= since + span
        assert (rule.after(latest) or 0) > since + span


# Berlin: 2024-03-31 02:00 is 03:00 at once (01:00 UTC); 2024-10-27 02:00 to 03:00 comes twice (00:00 and 01:00 UTC).


def test_a_fixed_time_that_is_left_out_in_spring_runs_right_after_the_gap() -> None:
    found = ticks(cron("30 2 * * *", "Europe/Berlin"), "2024-03-30T00:00:00+00:00", "2024-04-02T00:00:00+00:00")
    assert found == ["03-30 01:30", "03-31 01:00", "04-01 00:30"]


def test_a_fixed_time_that_comes_twice_in_autumn_runs_once() -> None:
    found = ticks(cron("30 2 * * *", "Europe/Berlin"), "2024-10-26T00:00:00+00:00", "2024-10-29T00:00:00+00:00")
    assert found == ["10-26 00:30", "10-27 00:30", "10-28 01:30"]


def test_asked_in_the_second_of_the_twin_hours_it_is_tomorrow() -> None:
    rule = cron("30 2 * * *", "Europe/Berlin")
    assert rule.after(at("2024-10-27T02:10:00+01:00")) == at("2024-10-28T02:30:00+01:00")


def test_a_star_follows_real_time_through_both_changes() -> None:
    rule = cron("*/30 * * * *", "Europe/Berlin")
    spring = ticks(rule, "2024-03-31T00:00:00+00:00", "2024-03-31T03:00:00+00:00")
    autumn = ticks(rule, "2024-10-26T23:30:00+00:00", "2024-10-27T02:30:00+00:00")
    assert spring == ["03-31 00:30", "03-31 01:00", "03-31 01:30", "03-31 02:00", "03-31 02:30"]
    assert autumn == ["10-27 00:00", "10-27 00:30", "10-27 01:00", "10-27 01:30", "10-27 02:00"]


def test_new_york_changes_on_other_days_and_hours() -> None:
    rule = cron("30 1,2 * * *", "America/New_York")
    spring = ticks(rule, "2024-03-10T05:00:00+00:00", "2024-03-11T05:00:00+00:00")
    autumn = ticks(rule, "2024-11-03T04:00:00+00:00", "2024-11-04T05:00:00+00:00")
    assert spring == ["03-10 06:30", "03-10 07:00"]
    assert autumn == ["11-03 05:30", "11-03 07:30"]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("expression", ["0 0 * * *", "45 1 * * *", "30 2 * * *"])
def test_a_daily_job_runs_once_on_each_day_of_a_year(expression: str, zone: str) -> None:
    rule = cron(expression, zone)
    moment, end, days = at("2024-01-01T00:00:00+00:00") - 1, at("2025-01-01T00:00:00+00:00"), []
    while (moment := rule.after(moment) or end) < end:
        days.append(datetime.fromtimestamp(moment, find_zone(zone)).date())
    assert all(later - day == timedelta(days=1) for day, later in pairwise(days))
    assert len(days) in (365, 366, 367)


def test_leap_days_come_every_four_years_and_not_in_2100() -> None:
    rule = cron("0 12 29 2 *", "Europe/Berlin")
    found, moment = [], at("2020-03-01T00:00:00+00:00")
    for _ in range(3):
        moment = rule.after(moment) or 0
        found.append(datetime.fromtimestamp(moment, UTC).year)
    assert found == [2024, 2028, 2032]
    late = rule.after(at("2096-03-01T00:00:00+00:00")) or 0
    assert datetime.fromtimestamp(late, UTC).year == 2104
    assert rule.latest(at("2103-01-01T00:00:00+00:00"), 0) == at("2096-02-29T12:00:00+01:00")


def test_the_last_day_of_february_is_the_29th_in_a_leap_year() -> None:
    assert ticks(cron("0 0 L 2 *"), "2023-01-01T00:00:00+00:00", "2025-01-01T00:00:00+00:00") == [
        "02-28 00:00",
        "02-29 00:00",
    ]


@pytest.mark.parametrize(
    "expression", ["", "* * * *", "60 * * * *", "nonsense", "*/0 * * * *", "0 0 30 2 *", None, 5, "@daily"]
)
def test_what_is_no_cron_expression_is_an_error_with_an_example(expression: Any) -> None:
    with pytest.raises(ValueError, match="cron expression"):
        cron(expression)


@pytest.mark.parametrize("zone", ["Europe/Berlln", "", "../etc/passwd", None, 7])
def test_a_time_zone_that_nobody_knows_is_an_error(zone: Any) -> None:
    with pytest.raises(ValueError, match="Europe/Berlin"):
        find_zone(zone)


def test_a_rule_is_shown_in_words() -> None:
    assert str(make_every("90m")) == "every 1h30m"
    assert str(cron(" 0  3 * * * ", "Europe/Berlin")) == "cron 0 3 * * * (Europe/Berlin)"
