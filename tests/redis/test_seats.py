"""Seats: each runner's own place on a host, found by the next one when its owner is dead (P2, P5, P8)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from django_graceful.exceptions import StoreUnavailable
from django_graceful.runner import seats


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "var" / "runtime"


def test_a_seat_is_a_directory_of_its_own_for_nobody_else(home: Path) -> None:
    first, second = seats.take(home), seats.take(home)
    assert first.name != second.name
    assert {path.name for path in seats.all_below(home)} == {first.name, second.name}
    assert first.path.stat().st_mode & 0o777 == home.stat().st_mode & 0o777 == 0o700
    assert seats.abandoned(home) == []
    first.remove()
    second.remove()
    assert os.listdir(home) == []


def test_the_seat_of_a_dead_runner_is_found_once(home: Path) -> None:
    code = "import sys, os; from pathlib import Path; from django_graceful.runner import seats; "
    code += "seat = seats.take(Path(sys.argv[1])); print(seat.name, flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        assert seats.abandoned(home) == []
        process.send_signal(signal.SIGKILL)
        process.wait()
        (found,) = seats.abandoned(home)
        assert found.name == name
        assert seats.abandoned(home) == [], "somebody has it now"
        found.leave()
        (again,) = seats.abandoned(home)
        again.remove()
        assert seats.abandoned(home) == []


def test_a_seat_that_is_being_removed_is_not_found(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seat = seats.take(home)
    seat.leave()
    real, removed = os.open, []

    def opened(path: Path, *args: int) -> int:
        fd = real(path, *args)
        if path == seat.path / "lock" and not removed:
            removed.append(path)
            os.unlink(path)
        return fd

    monkeypatch.setattr(os, "open", opened)
    assert seats.abandoned(home) == []


def test_one_that_is_half_made_is_not_found(home: Path) -> None:
    home.mkdir(parents=True)
    (home / ".abc").mkdir()
    assert seats.abandoned(home) == []
    assert seats.all_below(home / "none") == []


def test_a_place_that_belongs_to_somebody_else_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir(parents=True)
    monkeypatch.setattr(os, "geteuid", lambda: home.stat().st_uid + 1)
    with pytest.raises(StoreUnavailable, match="set RUNTIME"):
        seats.take(home)


def test_a_place_that_can_not_be_made_says_where_and_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match=str(tmp_path / "file")):
        seats.take(tmp_path / "file" / "below")
