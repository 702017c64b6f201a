"""What the demo says when something ends."""

from __future__ import annotations

import pytest

from django_graceful.stores.base import Counts
from testproject.demo.words import closing_words, ended_words, greeting


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ([], [], "0 items done this time. Nothing is left to do."),
        ([Counts(done=4)], [Counts(done=5)], "1 item done this time. Nothing is left to do."),
        (
            [Counts(done=1)],
            [Counts(done=1001, waiting=1), Counts(done=1000)],
            "2,000 items done this time. 1 waiting item is kept in var/graceful for the next start.",
        ),
        (
            [],
            [Counts(waiting=1, scheduled=1, retrying=1, running=1, cancelled=9)],
            "0 items done this time. 4 waiting items are kept in var/graceful for the next start.",
        ),
        (
            [],
            [Counts(dead=2)],
            "0 items done this time. Nothing is left to do. 2 dead items can be looked at and tried again.",
        ),
    ],
)
def test_the_last_words_say_what_was_done_and_what_is_kept(
    before: list[Counts], after: list[Counts], words: str
) -> None:
    assert closing_words(before, after, "var/graceful") == words


@pytest.mark.parametrize(
    ("code", "expected", "words"),
    [
        (0, True, "web has stopped."),
        (-9, True, "web has ended by SIGKILL."),
        (3, True, "web has ended with exit code 3."),
        (0, False, "web has ended unexpectedly, with exit code 0. Stopping everything."),
        (-9, False, "web has ended unexpectedly, by SIGKILL. Stopping everything."),
    ],
)
def test_an_end_is_told_with_its_exit_code_or_signal(code: int, expected: bool, words: str) -> None:
    assert ended_words("web", code, expected=expected) == words


def test_a_password_that_was_changed_is_not_shown() -> None:
    assert "admin / s3cret" in greeting("http://localhost:1", "admin", "s3cret", 7)
    assert "admin / (the password that you have set)" in greeting("http://localhost:1", "admin", None, 7)
