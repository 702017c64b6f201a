"""The board: producers see what the owner wrote last, whatever became of the file."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from django_graceful.stores.leveldb.board import Board, BoardReader
from django_graceful.stores.leveldb.board_file import Position


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "board"


def test_producers_see_what_the_owner_shows(path: Path) -> None:
    board, reader = Board.create(path), BoardReader(path)
    assert (reader.sleeping, reader.position, reader.depth("mail")) == (False, Position(0, 0), 0)
    board.set_depth("mail", 7)
    board.set_depth("search", 1 << 40)
    board.set_position(3, 1 << 41)
    board.set_newest(4)
    board.sleeping = True
    assert (reader.sleeping, reader.position, reader.look().newest) == (True, Position(3, 1 << 41), 4)
    assert (reader.depth("mail"), reader.depth("search"), reader.depth("other")) == (7, 1 << 40, 0)
    board.set_depth("mail", 6)
    board.sleeping = False
    assert (reader.sleeping, reader.depth("mail")) == (False, 6)


def test_without_a_board_nothing_waits_and_nobody_sleeps(path: Path) -> None:
    reader = BoardReader(path)
    assert (reader.sleeping, reader.position, reader.depth("mail")) == (False, Position(0, 0), 0)
    Board.create(path).set_depth("mail", 2)
    assert reader.depth("mail") == 2


def test_a_thousand_queues_have_room(path: Path) -> None:
    board, reader = Board.create(path), BoardReader(path)
    for n in range(1000):
        board.set_depth(f"queue {n}", n)
    assert [reader.depth(f"queue {n}") for n in range(1000)] == list(range(1000))
    assert os.stat(path).st_ino == os.fstat(board._fd).st_ino


def test_more_queues_than_slots_move_to_a_larger_board_and_readers_follow(path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("django_graceful.stores.leveldb.board.CAPACITY", 4)
    board, reader = Board.create(path), BoardReader(path)
    board.sleeping = True
    board.set_position(5, 50)
    for n in range(11):
        board.set_depth(f"q{n}", n + 1)
        assert reader.depth(f"q{n}") == n + 1
    assert [reader.depth(f"q{n}") for n in range(11)] == list(range(1, 12))
    assert (reader.sleeping, reader.position) == (True, Position(5, 50))
    board.set_depth("q3", 99)
    assert reader.depth("q3") == 99
    assert reader.look().capacity == 16


@pytest.mark.parametrize("name", ["a", "ü" * 100, "𝄞" * 100, "with / and \\ and spaces"])
def test_any_name_a_queue_may_have_fits(path: Path, name: str) -> None:
    board, reader = Board.create(path), BoardReader(path)
    board.set_depth("x", 1)
    board.set_depth(name, 5)
    board.set_depth(name + "y", 6)
    assert (reader.depth("x"), reader.depth(name)) == (1, 5)


def test_a_name_that_no_queue_can_have_is_left_out(path: Path) -> None:
    board, reader = Board.create(path), BoardReader(path)
    board.set_depth("x" * 401, 5)
    board.set_depth("mail", 2)
    assert (reader.depth("x" * 401), reader.depth("mail")) == (0, 2)


def test_the_next_owner_keeps_what_the_board_shows_but_is_awake(path: Path) -> None:
    board = Board.create(path)
    board.set_depth("mail", 7)
    board.set_position(3, 400)
    board.sleeping = True
    os.close(board._fd)  # a SIGKILL: nothing was tidied up
    reader = BoardReader(path)
    assert reader.sleeping
    again = Board.create(path)
    assert (reader.sleeping, reader.depth("mail"), reader.position) == (False, 7, Position(3, 400))
    again.set_depth("mail", 1)
    again.set_depth("new", 2)
    assert (reader.depth("mail"), reader.depth("new")) == (1, 2)


def test_a_closed_board_stays_readable_and_asks_for_no_wake_ups(path: Path) -> None:
    board = Board.create(path)
    board.set_depth("mail", 7)
    board.sleeping = True
    board.close()
    board.close()
    reader = BoardReader(path)
    assert (reader.sleeping, reader.depth("mail")) == (False, 7)


@pytest.mark.parametrize("content", [b"", b"GRBO", b"x" * 50_000, b"GRBOARD1" + b"\xff" * 500])
def test_a_damaged_or_foreign_board_is_ignored_and_replaced(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    reader = BoardReader(path)
    assert (reader.sleeping, reader.position, reader.depth("mail")) == (False, Position(0, 0), 0)
    board = Board.create(path)
    board.set_depth("mail", 3)
    assert reader.depth("mail") == 3


def test_a_board_that_is_truncated_while_it_is_in_use_kills_nobody(path: Path) -> None:
    board, reader = Board.create(path), BoardReader(path)
    board.set_depth("mail", 3)
    assert reader.depth("mail") == 3
    os.truncate(path, 0)
    assert (reader.depth("mail"), reader.sleeping) == (0, False)
    board.set_depth("mail", 4)
    board.set_depth("other", 1)
    board.sleeping = True


def test_a_board_that_can_not_be_written_says_so_once_and_goes_on(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    board = Board(path, os.open("/dev/full", os.O_RDWR), 0o600)
    board.sleeping = True
    board.set_depth("mail", 1)
    board.set_position(1, 2)
    assert not board.sleeping
    assert len([r for r in caplog.records if "board" in r.message and "No space" in r.message]) == 1
    board.close()


def test_an_owner_that_died_between_two_words_of_the_position_leaves_a_safe_one(path: Path) -> None:
    board, reader = Board.create(path), BoardReader(path)
    board.set_position(3, 4000)
    board._put(48, 4)  # "opened": the owner was going on to segment 4
    assert reader.position == Position(4, 0)


def test_a_position_that_was_read_while_it_changed_is_read_again(path: Path, monkeypatch: Any) -> None:
    Board.create(path)
    reader = BoardReader(path)
    before = reader.look()._replace(opened=1, offset=700, closed=1)
    torn = before._replace(opened=2, closed=2)
    after = torn._replace(offset=60)
    looks = iter([before, torn, after, after])
    monkeypatch.setattr(reader, "look", lambda: next(looks))
    assert reader.position == Position(2, 60)


def test_a_position_is_never_half_of_one_and_half_of_another(path: Path) -> None:
    board, reader = Board.create(path), BoardReader(path)
    stop = threading.Event()

    def move() -> None:
        segment = 0
        while not stop.is_set():
            segment += 1
            board.set_position(segment, segment * 1000)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    mover = threading.Thread(target=move)
    mover.start()
    try:
        for _ in range(3000):
            segment, offset = reader.position
            assert offset in (segment * 1000, 0)
    finally:
        stop.set()
        mover.join()
        sys.setswitchinterval(interval)


@pytest.mark.parametrize("umask", [0o000, 0o077])
@pytest.mark.parametrize("mode", [0o600, 0o660])
def test_its_permissions_are_those_of_the_settings(path: Path, mode: int, umask: int) -> None:
    before = os.umask(umask)
    try:
        Board.create(path, mode)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode


def test_a_board_that_can_not_be_made_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Board.create(tmp_path / "missing" / "board")
