"""Tables fit the terminal, words are for people, and no stored text controls a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_graceful.console.tables import Column, fit, render
from django_graceful.console.text import clean, clean_lines, duration, moment, plural, shorten, width


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain text", "plain text"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("bell\x07 back\x08 del\x7f", r"bell\x07 back\x08 del\x7f"),
        ("two\nlines\r\ttab", r"two\nlines\r\ttab"),
        ("\x9b1m", r"\x9b1m"),
        ("right\u202eleft", r"right\u202eleft"),
        ("half\ud800", r"half\ud800"),
        ("Grüße 日本 🎉", "Grüße 日本 🎉"),
    ],
)
def test_what_could_control_a_terminal_is_escaped_and_the_rest_stays(raw: str, shown: str) -> None:
    assert clean(raw) == shown


@given(st.text(st.characters()))
def test_nothing_unprintable_ever_comes_through(raw: str) -> None:
    assert clean(raw).isprintable()
    assert all(line.isprintable() for line in clean_lines(raw))


def test_lines_stay_lines() -> None:
    assert clean_lines("Traceback:\n\tx = \x1b\n") == ["Traceback:", r"    x = \x1b"]


@pytest.mark.parametrize(("text", "columns"), [("abc", 3), ("äöü", 3), ("日本", 4), ("e\u0301", 1), ("", 0)])
def test_the_width_is_what_a_terminal_takes(text: str, columns: int) -> None:
    assert width(text) == columns


@given(st.text().map(clean), st.integers(1, 30))
def test_shortened_text_fits_and_short_text_stays(text: str, columns: int) -> None:
    cut = shorten(text, columns)
    assert width(cut) <= columns
    assert cut == text if width(text) <= columns else cut.endswith("…")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-3, "0.0 s"),
        (0.04, "0.0 s"),
        (0.36, "0.4 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 m"),
        (200, "3 m 20 s"),
        (3600, "1 h"),
        (7500, "2 h 5 m"),
        (86_400, "1 d"),
        (349_200, "4 d 1 h"),
    ],
)
def test_durations_have_at_most_two_units(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_a_brief_duration_has_one_unit() -> None:
    assert [duration(seconds, brief=True) for seconds in (3, 200, 7500, 349_200)] == ["3.0 s", "3 m", "2 h", "4 d"]


@pytest.mark.parametrize("at", [float("inf"), float("nan"), -1e18, 1e30])
def test_what_is_no_time_is_a_question_mark(at: float) -> None:
    assert moment(at) == "?"


def test_moments_and_plurals() -> None:
    assert moment(1.5e9).startswith("2017-07-14 ") or moment(1.5e9).startswith("2017-07-13 ")
    assert (plural(1, "item"), plural(0, "item"), plural(2, "dead item")) == ("1 item", "0 items", "2 dead items")


COLUMNS = [Column("NAME", gives=True), Column("N", right=True), Column("TEXT", gives=True)]


def test_a_table_is_as_wide_as_its_cells() -> None:
    assert render(COLUMNS, [["mail", "7", "x"], ["search", "12345", ""]]) == "\n".join(
        [
            "NAME        N  TEXT",
            "mail        7  x",
            "search  12345",
        ]
    )


def test_a_table_of_wide_characters_is_aligned() -> None:
    lines = render(COLUMNS, [["日本", "1", "a"], ["abc", "2", "b"]]).splitlines()
    assert lines[1:] == ["日本  1  a", "abc   2  b"]


def test_a_cell_can_not_control_the_terminal_or_break_the_table() -> None:
    table = render(COLUMNS, [["a\nb\x1b[2J", "1", "x"]])
    assert table.splitlines()[1] == r"a\nb\x1b[2J  1  x"


def test_a_table_fits_the_screen_by_cutting_what_may_be_cut() -> None:
    table = render(COLUMNS, [["n" * 50, "1234567890", "t" * 100]], screen=60)
    assert max(map(width, table.splitlines())) == 60
    assert "1234567890" in table
    assert table.count("…") == 2


@given(st.lists(st.tuples(st.integers(1, 200), st.booleans()), min_size=1, max_size=8), st.integers(10, 200))
def test_columns_are_cut_only_when_needed_and_only_those_that_give(
    columns: list[tuple[int, bool]], screen: int
) -> None:
    widths, gives = [w for w, _ in columns], [g for _, g in columns]
    found = fit(widths, gives, screen)
    gaps = 2 * (len(columns) - 1)
    for before, after, can in zip(widths, found, gives, strict=True):
        assert after == before or (can and min(before, 5) <= after < before)
    total = sum(found) + gaps
    assert total <= screen or all(not can or after <= 5 for after, can in zip(found, gives, strict=True))
    assert total >= min(screen, sum(widths) + gaps)


def test_only_the_heading_is_coloured() -> None:
    table = render(COLUMNS, [["a", "1", "b"]], heading=lambda text: f"<{text}>")
    assert table.splitlines() == ["<NAME  N  TEXT>", "a     1  b"]
