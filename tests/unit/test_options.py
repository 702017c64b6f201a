from __future__ import annotations

import math
from dataclasses import fields
from datetime import timedelta
from typing import Any

import pytest

from django_graceful import options as module
from django_graceful.options import (
    MAX_DELAY,
    OVERRIDES,
    YEAR,
    Options,
    coerce,
    coerce_delay,
    is_number,
    is_whole,
    nearest,
    processors,
)

NAMES = [field.name for field in fields(Options)]


def test_the_defaults_are_those_of_the_documentation() -> None:
    found = Options()
    assert (found.batch_length, found.batch_wait, found.max_attempts) == (1, 0.1, 5)
    assert (found.backoff, found.backoff_max, found.timeout) == (2, 3600, None)
    assert (found.unique, found.length, found.priority, found.store) == (None, None, 0, "default")
    assert (found.rerun, found.immediate) == (True, False)


@pytest.mark.parametrize("name", NAMES)
def test_every_option_can_be_overridden_by_its_upper_case_name(name: str) -> None:
    assert OVERRIDES[name.upper()] == name


@pytest.mark.parametrize("name", [name for name in NAMES if name != "max_workers"])
def test_every_default_is_a_value_that_may_be_written(name: str) -> None:
    assert coerce(name, getattr(Options(), name)) == getattr(Options(), name)


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("max_workers", 1, 1),
        ("max_workers", 1000, 1000),
        ("batch_length", 10_000, 10_000),
        ("batch_wait", 0, 0.0),
        ("batch_wait", timedelta(milliseconds=250), 0.25),
        ("timeout", None, None),
        ("timeout", 60, 60.0),
        ("timeout", timedelta(minutes=1), 60.0),
        ("unique", None, None),
        ("unique", "queued", "queued"),
        ("unique", "finished", "finished"),
        ("length", None, None),
        ("length", 1, 1),
        ("backoff", YEAR, YEAR),
        ("timeout", 0.001, 0.001),
        ("max_attempts", 1, 1),
        ("max_attempts", 60_000, 60_000),
        ("priority", -100, -100),
        ("priority", 100, 100),
        ("rerun", False, False),
        ("store", "other", "other"),
    ],
)
def test_a_good_value_is_given_in_its_final_form(name: str, value: Any, found: Any) -> None:
    converted = coerce(name, value)
    assert converted == found
    assert type(converted) is type(found)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_workers", 0),
        ("max_workers", 1001),
        ("max_workers", 2.0),
        ("max_workers", "2"),
        ("max_workers", True),
        ("max_workers", None),
        ("batch_length", 0),
        ("batch_wait", -0.1),
        ("batch_wait", math.nan),
        ("batch_wait", math.inf),
        ("batch_wait", 10**400),
        ("batch_wait", timedelta(seconds=-1)),
        ("max_attempts", 0),
        ("backoff", False),
        ("backoff_max", YEAR + 1),
        ("timeout", 0),
        ("timeout", "60"),
        ("unique", "always"),
        ("unique", True),
        ("unique", ["queued"]),
        ("length", 0),
        ("priority", 101),
        ("priority", -101),
        ("rerun", 1),
        ("rerun", None),
        ("store", ""),
        ("store", 5),
        ("immediate", 0),
    ],
)
def test_a_wrong_value_is_an_error_that_says_what_it_must_be(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r"^must be .*not "):
        coerce(name, value)


def test_a_queue_without_max_workers_gets_the_processors_but_ten_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "processors", lambda: 4)
    assert Options().workers == 4
    monkeypatch.setattr(module, "processors", lambda: 64)
    assert Options().workers == 10
    assert Options(max_workers=30).workers == 30


def test_the_processors_are_those_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda pid: {2, 5, 7})
    assert processors() == 3


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [(0, 0.0), (-5, 0.0), (2, 2.0), (0.25, 0.25), (timedelta(hours=1), 3600.0), (timedelta(-1), 0.0)],
)
def test_a_delay_is_seconds_and_a_negative_one_is_none(delay: Any, seconds: float) -> None:
    assert coerce_delay(delay) == seconds


def test_a_delay_of_a_hundred_years_is_the_longest() -> None:
    assert coerce_delay(MAX_DELAY) == MAX_DELAY


@pytest.mark.parametrize("delay", [True, "5", None, b"5", [5]])
def test_a_delay_of_another_type_is_a_type_error(delay: Any) -> None:
    with pytest.raises(TypeError, match="a number of seconds or a timedelta"):
        coerce_delay(delay)


@pytest.mark.parametrize("delay", [math.nan, math.inf, MAX_DELAY * 1.01, 10**400, timedelta.max])
def test_a_delay_beyond_a_hundred_years_is_a_value_error(delay: Any) -> None:
    with pytest.raises(ValueError, match="at most"):
        coerce_delay(delay)


def test_true_is_no_number() -> None:
    assert is_number(0)
    assert is_number(-1.5)
    assert not any(map(is_number, (True, math.nan, -math.inf, "1", None)))
    assert is_whole(3)
    assert not any(map(is_whole, (True, 3.0, "3")))


def test_the_nearest_name_is_found_in_any_case() -> None:
    assert nearest("DURABILTY", ["PATH", "DURABILITY"]) == " (did you mean 'DURABILITY'?)"
    assert nearest("Mails", ["mail", "search"]) == " (did you mean 'mail'?)"
    assert nearest("zzz", ["mail"]) == ""
    assert nearest("mail", []) == ""
