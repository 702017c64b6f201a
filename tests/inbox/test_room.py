"""Room: a queue is full exactly when it is, with a runner, without one, and after one that died."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from django_graceful.exceptions import QueueFull
from django_graceful.stores.leveldb import room, segments
from django_graceful.stores.leveldb.board import Board
from django_graceful.stores.leveldb.frames import encode
from django_graceful.stores.leveldb.inbox import Inbox
from tests.inbox.helpers import Owner, record


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    found = Inbox(tmp_path)
    yield found
    found.close()


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    found = Board.create(tmp_path / "board")
    yield found
    found.close()


def fill(inbox: Inbox, limit: int, queue: str = "mail", size: int = 1) -> int:
    """Push until the queue is full; how many went in."""
    pushed = 0
    while True:
        try:
            inbox.append(queue, [record("x" * size)], limit)
        except QueueFull:
            return pushed
        pushed += 1


@pytest.mark.parametrize("size", [0, 1, 500, 100_000])
@pytest.mark.parametrize("limit", [1, 2, 100])
def test_without_a_runner_exactly_the_limit_fits(inbox: Inbox, limit: int, size: int) -> None:
    assert fill(inbox, limit, size=size) == limit
    assert fill(inbox, limit, size=size) == 0


def test_the_error_names_the_queue_the_limit_and_the_remedy(inbox: Inbox) -> None:
    fill(inbox, 3)
    with pytest.raises(QueueFull, match=r"queue mail: 3 items wait and its limit is 3.*runqueues"):
        inbox.append("mail", [record(1)], 3)


def test_no_limit_is_no_limit(inbox: Inbox) -> None:
    fill(inbox, 2)
    inbox.append("mail", [record(1)] * 5)
    assert fill(inbox, 8) == 1


def test_a_push_of_many_fits_whole_or_not_at_all(inbox: Inbox) -> None:
    inbox.append("mail", [record(n) for n in range(7)], 10)
    with pytest.raises(QueueFull, match="no room for 4 more"):
        inbox.append("mail", [record(n) for n in range(4)], 10)
    inbox.append("mail", [record(n) for n in range(3)], 10)
    assert fill(inbox, 10) == 0


def test_each_queue_has_its_own_room(inbox: Inbox) -> None:
    assert fill(inbox, 50, "mail") == 50
    assert fill(inbox, 20, "search") == 20
    assert fill(inbox, 51, "mail") == 1


def test_what_other_processes_pushed_counts(tmp_path: Path, inbox: Inbox) -> None:
    other = Inbox(tmp_path)
    fill(inbox, 10)
    other.append("mail", [record(n) for n in range(5)])
    assert fill(inbox, 20) == 5
    other.close()


def test_what_waits_in_the_store_counts(tmp_path: Path, inbox: Inbox, board: Board) -> None:
    owner = Owner(tmp_path, board=board)
    fill(inbox, 30)
    owner.take()
    board.set_depth("mail", 30)
    assert fill(inbox, 30) == 0
    board.set_depth("mail", 12)
    assert fill(inbox, 30) == 18


def test_room_is_exact_at_every_step_of_an_owner_that_takes_in_slowly(tmp_path: Path, board: Board) -> None:
    inbox, owner, limit = Inbox(tmp_path), Owner(tmp_path, board=board, rotate_at=3000), 200
    stored = in_inbox = 0
    for step in range(60):
        pushed = fill(inbox, limit, size=step)
        assert stored + in_inbox + pushed == limit
        before = len(owner.taken)
        owner.store_batch(7 * step % 50 + 1)
        owner.advance()
        came_in = len(owner.taken) - before
        stored, in_inbox = stored + came_in, in_inbox + pushed - came_in
        stored -= min(stored, 3 * step % 40)  # some are handled
        board.set_depth("mail", stored)
    assert segments.numbers(tmp_path / "inbox")[0] > 3
    inbox.close()


def test_an_owner_that_was_killed_leaves_room_as_it_is(tmp_path: Path, inbox: Inbox) -> None:
    board = Board.create(tmp_path / "board")
    owner = Owner(tmp_path, board=board)
    fill(inbox, 30)
    owner.take(limit=10)
    board.set_depth("mail", 30)
    inbox.append("mail", [record(1)] * 5)
    # stored, but killed before it could show it: both the depth and the position are old
    owner.store_batch()
    os.close(board._fd)
    assert fill(inbox, 40) == 5


def test_a_new_segment_does_not_hide_what_is_in_the_old_one(tmp_path: Path, inbox: Inbox) -> None:
    fill(inbox, 10)
    segments.create(tmp_path, 2, 0o600)
    other = Inbox(tmp_path)
    assert fill(other, 15) == 5
    inbox.close()
    assert fill(inbox, 16) == 1
    other.close()


def test_an_old_segment_that_was_taken_in_but_is_still_there_does_not_count(tmp_path: Path, board: Board) -> None:
    inbox, owner = Inbox(tmp_path), Owner(tmp_path, board=board, rotate_at=1)
    fill(inbox, 10)
    with open(tmp_path / "inbox" / "00000001.log", "rb") as busy:
        fcntl.flock(busy, fcntl.LOCK_SH)  # a producer that was stopped in its push
        owner.take()
        owner.take()
        board.set_depth("mail", 10)
        assert segments.numbers(tmp_path / "inbox") == [1, 3]
        other = Inbox(tmp_path)
        assert fill(other, 15) == 5
    other.close()
    inbox.close()


def test_a_segment_that_others_began_counts_as_soon_as_records_are_counted(tmp_path: Path, inbox: Inbox) -> None:
    for _ in range(10):
        inbox.append("mail", [record("x" * 500)], 1000)
    segments.create(tmp_path, 2, 0o600)
    other = Inbox(tmp_path)
    other.append("mail", [record(n) for n in range(15)])
    with pytest.raises(QueueFull, match="25 items wait"):
        inbox.append("mail", [record(1)], 20)
    other.close()


def test_room_starts_afresh_when_the_directory_was_removed(tmp_path: Path, inbox: Inbox) -> None:
    assert fill(inbox, 10) == 10
    shutil.rmtree(tmp_path / "inbox")
    inbox.append("mail", [record("notices")])
    assert fill(inbox, 10) == 9


def test_damage_is_not_counted(tmp_path: Path, inbox: Inbox) -> None:
    fill(inbox, 10)
    with open(tmp_path / "inbox" / "00000001.log", "ab") as file:
        file.write(b"\xf9\xfe\xc1\xfd\x00\x01\x00\x00torn" + b"y" * 2000)
    assert fill(inbox, 15) == 5
    assert fill(inbox, 16) == 1


def test_a_torn_push_hides_none_of_those_behind_it(tmp_path: Path, inbox: Inbox) -> None:
    fill(inbox, 10)
    with open(tmp_path / "inbox" / "00000001.log", "ab") as file:
        file.write(encode("mail", record("x" * 500))[:100])
    inbox.append("mail", [record("first behind")])
    for n in range(19):
        inbox.append("mail", [record(n)])
    other = Inbox(tmp_path)
    assert fill(other, 35) == 5
    other.close()


def test_what_was_taken_in_is_not_read_to_be_counted(
    tmp_path: Path, inbox: Inbox, board: Board, monkeypatch: Any
) -> None:
    fill(inbox, 300)
    Owner(tmp_path, board=board).take()
    counted = []
    step = room.Tally._step
    monkeypatch.setattr(room.Tally, "_step", lambda self, fd: (counted.append(self.reached), step(self, fd))[1])
    other = Inbox(tmp_path)
    assert fill(other, 3) == 3
    assert 0 < len(counted) <= 4
    other.close()


def test_many_frames_of_a_backlog_are_counted_once(tmp_path: Path, inbox: Inbox, monkeypatch: Any) -> None:
    counted = []
    step = room.Tally._step
    monkeypatch.setattr(room.Tally, "_step", lambda self, fd: (counted.append(self.reached), step(self, fd))[1])
    assert fill(inbox, 500) == 500
    assert len(counted) <= 501
    assert len(counted) == len(set(counted))


def test_a_large_payload_is_not_read_to_be_counted(tmp_path: Path, inbox: Inbox, monkeypatch: Any) -> None:
    read = []
    pread = os.pread
    monkeypatch.setattr(
        room.os, "pread", lambda fd, count, at: (data := pread(fd, count, at), read.append(len(data)))[0]
    )
    assert fill(inbox, 10, size=1_000_000) == 10
    assert 0 < sum(read) < 2_000_000
