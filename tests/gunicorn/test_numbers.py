"""Numbers of a gunicorn configuration that do not fit, as far as they can be known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from django_graceful.checks import check_deployment
from django_graceful.gunicorn.numbers import misfits, written


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, []),
        ({"graceful_timeout": 30, "reuse_port": False}, []),
        ({"graceful_timeout": 5}, []),
        ({"graceful_timeout": 4}, ["half of that"]),
        ({"graceful_timeout": 31}, ["many platforms"]),
        ({"reuse_port": True}, ["reuse_port is on"]),
        ({"graceful_timeout": 2, "reuse_port": True}, ["half of that", "reuse_port is on"]),
        ({"graceful_timeout": "30"}, []),
    ],
)
def test_what_does_not_fit(settings: dict[str, Any], words: list[str]) -> None:
    found = [text for text, _ in misfits(settings)]
    assert len(found) == len(words)
    assert all(word in text for word, text in zip(words, found, strict=True))


def test_plain_values_of_the_file_are_read_and_nothing_is_executed(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    (tmp_path / "gunicorn.conf.py").write_text(
        f"import os\ngraceful_timeout = 4\nreuse_port = bool(1)\nworkers = 3\nopen({str(touched)!r}, 'w')\n"
    )
    assert written([tmp_path / "none", tmp_path], {}) == {"graceful_timeout": 4}
    assert not touched.exists()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("--graceful-timeout=50 --workers 3", {"graceful_timeout": 50}),
        ("--graceful-timeout 50 --reuse-port", {"graceful_timeout": 50, "reuse_port": True}),
        ("--graceful-timeout soon", {}),
        ("an 'open quote", {}),
        ("", {}),
    ],
)
def test_what_the_environment_says_counts_more(tmp_path: Path, text: str, found: dict[str, Any]) -> None:
    (tmp_path / "gunicorn.conf.py").write_text("graceful_timeout = 4\n")
    assert written([tmp_path], {"GUNICORN_CMD_ARGS": text}) == {"graceful_timeout": 4, **found}


@pytest.mark.parametrize("content", [b"not python (", b"\xff\xfe", b"\0"])
def test_a_file_that_can_not_be_read_says_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "gunicorn.conf.py").write_bytes(content)
    assert written([tmp_path], {}) == {}


def test_the_check_looks_beside_the_project_and_in_the_environment(
    tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BASE_DIR = tmp_path
    monkeypatch.delenv("GUNICORN_CMD_ARGS", raising=False)
    assert [message.id for message in check_deployment(None) if message.id == "django_graceful.W013"] == []
    (tmp_path / "gunicorn.conf.py").write_text("reuse_port = True\n")
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--graceful-timeout 2")
    found = [message for message in check_deployment(None) if message.id == "django_graceful.W013"]
    assert len(found) == 2
    assert "half of that" in found[0].msg
    assert found[0].hint
