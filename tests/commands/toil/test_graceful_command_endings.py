"""The exit code and the last line, for every way a command can end; and the page that they are read from."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from django_graceful.management.endings import Ending, exit_code, sentence
from django_graceful.management.page import Field, How, Page, Wish

TERM, KILL = signal.SIGTERM, signal.SIGKILL
ADA = Wish("ada", "wrong list")
ROWS = (1200, 5000, "rows")


@pytest.mark.parametrize(
    ("ending", "code", "words"),
    [
        (Ending(0), 0, ""),
        (Ending(3), 3, ""),
        (Ending(0, number=TERM, seconds=3.2), 0, "finished after SIGTERM; 3.2 s"),
        (Ending(1, number=TERM, seconds=3.2), 1, "failed, exit code 1, after SIGTERM; 3.2 s"),
        (Ending(143, How.STOPPED, TERM, None, ROWS, 3.2), 143, "stopped at 1200 of 5000 (rows) after SIGTERM; 3.2 s"),
        (Ending(0, How.STOPPED, signal.SIGINT, None, (3, None, ""), 75), 130, "stopped at 3 after SIGINT; 1 m 15 s"),
        (Ending(-KILL, How.ITSELF, TERM, None, ROWS, 30), 137, "killed at 1200 of 5000 (rows) after SIGTERM; 30 s"),
        (Ending(-KILL, How.STOPPED, TERM, None, None, 30), 137, "killed after SIGTERM; 30 s"),
        (Ending(-KILL, progress=(0.5, 2, "")), 137, "killed at 0.5 of 2"),
        (Ending(-signal.SIGSEGV), 139, "ended by SIGSEGV"),
        (Ending(-signal.SIGRTMIN - 1), 128 + signal.SIGRTMIN + 1, f"ended by signal {signal.SIGRTMIN + 1}"),
        (Ending(1, How.CANCELLED, 0, ADA, ROWS, 0.1), 1, "cancelled by ada: wrong list, at 1200 of 5000 (rows); 0.1 s"),
        (Ending(1, How.CANCELLED, 0, Wish(), None, 0.1), 1, "cancelled; 0.1 s"),
        (Ending(1, How.CANCELLED, 0, Wish("ada"), None, 0.1), 1, "cancelled by ada; 0.1 s"),
        (Ending(1, How.CANCELLED, 0, None), 1, "cancelled"),
        (Ending(1, How.CANCELLED, TERM, ADA, None, 0.1), 1, "cancelled by ada: wrong list; 0.1 s"),
        (Ending(-KILL, How.ITSELF, 0, ADA, None, 2), 137, "killed after it was cancelled by ada: wrong list; 2.0 s"),
        (Ending(0, How.ITSELF, 0, ADA, None, 2), 0, "finished after it was cancelled by ada: wrong list; 2.0 s"),
    ],
)
def test_each_ending_has_its_code_and_its_words(ending: Ending, code: int, words: str) -> None:
    assert (exit_code(ending), sentence(ending)) == (code, words)


def test_nobodys_words_control_the_terminal() -> None:
    ending = Ending(1, How.CANCELLED, 0, Wish("a\x1b[2J", "b\nc"), (1, 2, "\x1b]0;title\x07"))
    assert sentence(ending).isprintable()


def test_a_fresh_page_says_nothing() -> None:
    page = Page()
    assert (page.progress, page.wish, page.words[Field.HOW], page.words[Field.HAMMER_AT]) == (None, None, 0, 0)


@pytest.mark.parametrize(
    "told", [(1, 2, "three"), (1.5, None, ""), (0, 0, "Ünser Foto 📷"), (-1e300, 1e300, "x" * 1534)]
)
def test_progress_is_read_as_it_was_told(told: Any) -> None:
    page = Page()
    page.note_progress(9, 9, "what was told before, and is longer than what follows")
    page.note_progress(*told)
    assert page.progress == told


@pytest.mark.parametrize("wish", [Wish(), Wish("ada", "wrong list"), Wish("“ü”\x00", 'a "quoted" \\ note')])
def test_a_wish_is_read_as_it_was_told_and_leaves_progress_alone(wish: Wish) -> None:
    page = Page()
    page.note_progress(1, 2, "x" * 5000)
    page.note_wish(wish)
    assert page.wish == wish
    assert page.progress is not None
    assert page.progress[:2] == (1, 2)
    assert set(page.progress[2]) == {"x"}


def test_a_long_wish_is_cut_and_stays_readable() -> None:
    page = Page()
    page.note_wish(Wish("é" * 10_000, "x\x00" + "📷" * 10_000))
    assert page.wish is not None
    assert set(page.wish.by) == {"é"}
    assert page.wish.note.startswith("x\x00📷📷📷")
