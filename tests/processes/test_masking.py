"""What of a command line is shown to people."""

from __future__ import annotations

import time

import pytest

from django_graceful.masking import mask_command, mask_text, secrets_of


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (["git", "fetch", "origin"], ["git", "fetch", "origin"]),
        (["git", "clone", "https://joe:s3cret@host/x"], ["git", "clone", "https://***@host/x"]),
        (["git", "clone", "https://ghp_token@host/x"], ["git", "clone", "https://***@host/x"]),
        (["git", "clone", "--depth=1", "ssh://git@host:22/x"], ["git", "clone", "--depth=1", "ssh://***@host:22/x"]),
        (["curl", "https://host:8443/path"], ["curl", "https://host:8443/path"]),
        (["curl", "https://host/?a=1&token=abc&b=2"], ["curl", "https://host/?a=1&token=***&b=2"]),
        (["curl", "-H", "Authorization: Bearer abc def"], ["curl", "-H", "Authorization: ***"]),
        (["x", "--password", "p w", "y"], ["x", "--password", "***", "y"]),
        (["x", "--password=pw"], ["x", "--password=***"]),
        (["x", "--db-password", "pw"], ["x", "--db-password", "***"]),
        (["x", "--token", "t"], ["x", "--token", "***"]),
        (["x", "--API-KEY=k"], ["x", "--API-KEY=***"]),
        (["x", "--token", "--verbose"], ["x", "--token", "--verbose"]),
        (["env", "PGPASSWORD=pw", "psql"], ["env", "PGPASSWORD=***", "psql"]),
        (["git", "commit", "--author", "A U Thor"], ["git", "commit", "--author", "A U Thor"]),
        (["x", "--password"], ["x", "--password"]),
    ],
)
def test_credentials_are_masked_and_nothing_else(given: list[str], shown: list[str]) -> None:
    assert mask_command(given) == shown


def test_the_values_are_masked_in_the_output_too() -> None:
    secrets = secrets_of(["x", "--token", "t0psecret", "--password=hush!", "https://joe:pw12@host/"])
    assert mask_text("no t0psecret, no hush!, no joe:pw12; see ftp://a:b@c/", secrets) == (
        "no ***, no ***, no ***; see ftp://***@c/"
    )


def test_short_values_are_not_searched_for_in_the_output() -> None:
    assert mask_text("a plain text", {"a"}) == "a plain text"


@pytest.mark.parametrize("word", ["x" * 1_000_000, "a-" * 500_000, " " * 1_000_000, "token" * 200_000, "://" * 300_000])
def test_long_words_take_no_time(word: str) -> None:
    begin = time.process_time()
    mask_command(["x", word, f"--data={word}"])
    secrets_of([word])
    mask_text(word, ())
    assert time.process_time() - begin < 5
