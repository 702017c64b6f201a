"""Taking in: every record once and in order, whatever is damaged, in the way, or interrupted."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from django_graceful.exceptions import StoreUnavailable
from django_graceful.stores.leveldb import aside, frames, reading, segments
from django_graceful.stores.leveldb import intake as intake_module
from django_graceful.stores.leveldb.board import Board, BoardReader
from django_graceful.stores.leveldb.board_file import Position
from django_graceful.stores.leveldb.frames import MAGIC, encode
from django_graceful.stores.leveldb.inbox import Inbox
from tests.inbox.helpers import Owner, record, segment_names


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    found = Inbox(tmp_path)
    yield found
    found.close()


def push(inbox: Inbox, *texts: object) -> None:
    for text in texts:
        inbox.append("mail", [record(text)])


def segment(store: Path, number: int = 1) -> Path:
    return store / "inbox" / f"{number:08d}.log"


def append(store: Path, data: bytes, number: int = 1) -> None:
    with open(segment(store, number), "ab") as file:
        file.write(data)


def kept(store: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((store / "aside").glob("inbox-*.bin"))]


def test_an_empty_store_gets_its_first_segment(tmp_path: Path) -> None:
    owner = Owner(tmp_path)
    assert owner.take() == []
    assert not owner.intake.pending()
    assert segment_names(tmp_path) == ["00000001.log"]


def test_something_new_is_pending_until_it_was_taken_in(tmp_path: Path, inbox: Inbox) -> None:
    owner = Owner(tmp_path)
    push(inbox, 1)
    assert owner.intake.pending()
    owner.store_batch()
    assert owner.intake.pending()
    owner.advance()
    assert not owner.intake.pending()


def test_reading_stops_at_the_limit_and_says_that_there_is_more(tmp_path: Path, inbox: Inbox) -> None:
    owner = Owner(tmp_path)
    push(inbox, *range(5))
    assert owner.store_batch(2)
    owner.advance()
    assert owner.texts == ["0", "1"]
    assert owner.intake.pending()
    assert owner.store_batch(2)
    owner.advance()
    assert not owner.store_batch(2)
    owner.advance()
    assert owner.texts == ["0", "1", "2", "3", "4"]


def test_the_records_of_one_push_are_never_divided(tmp_path: Path, inbox: Inbox) -> None:
    inbox.append("mail", [record(n) for n in range(10)])
    push(inbox, "next")
    found = Owner(tmp_path).intake.read(3)
    assert len(found.entries) == 10
    assert found.more


def test_without_advancing_the_same_is_read_again(tmp_path: Path, inbox: Inbox) -> None:
    push(inbox, 1, 2)
    intake = Owner(tmp_path).intake
    first = intake.read()
    push(inbox, 3)
    assert [text for _, text in intake.read().entries] == [*(text for _, text in first.entries), record(3)]
    assert intake.read(1).entries == first.entries[:1]
    intake.advance()
    assert [text for _, text in intake.read().entries] == [record(2), record(3)]


def test_a_shorter_second_reading_does_not_move_on_over_what_only_the_first_one_gave(tmp_path: Path) -> None:
    for number in (1, 2):
        segments.open_newest(tmp_path, 0o600, above=number - 1)
        append(tmp_path, encode("mail", record(f"{number}a")) + encode("mail", record(f"{number}b")), number)
    owner = Owner(tmp_path)
    assert len(owner.intake.read().entries) == 4
    owner.store_batch(1)
    owner.advance()
    owner.take()
    assert owner.texts == ["1a", "1b", "2a", "2b"]


def test_a_crash_at_any_step_takes_nothing_in_twice_and_leaves_nothing_out(tmp_path: Path, inbox: Inbox) -> None:
    owner = Owner(tmp_path, rotate_at=600)
    pushed = 0
    for step in range(120):
        push(inbox, *range(pushed, pushed + step % 4))
        pushed += step % 4
        if step % 3 == 0:
            owner.intake.read(step % 5 + 1)  # killed before the batch was written
        else:
            owner.store_batch(step % 5 + 1)  # killed right behind it
            if step % 2:
                owner.intake.advance()  # killed before the offsets of segments that are gone were deleted
        owner.crash()
    owner.take()
    assert owner.texts == [str(n) for n in range(pushed)]
    assert owner.damage == []
    owner.crash()
    owner.take()
    assert len(owner.offsets) <= len(segment_names(tmp_path)) == 1


def test_a_full_segment_is_left_for_a_fresh_one_and_removed(tmp_path: Path, inbox: Inbox) -> None:
    owner = Owner(tmp_path, rotate_at=1000)
    push(inbox, *range(5))
    owner.take()
    assert segment_names(tmp_path) == ["00000001.log"]
    push(inbox, *range(5, 15))
    owner.take()
    assert segment_names(tmp_path) == ["00000002.log"]
    push(inbox, *range(15, 20))
    owner.take()
    assert owner.texts == [str(n) for n in range(20)]
    assert list(owner.offsets.values()) == [segment(tmp_path, 2).stat().st_size]


def test_a_push_between_the_last_look_and_the_lock_keeps_its_segment(
    tmp_path: Path, inbox: Inbox, monkeypatch: Any
) -> None:
    push(inbox, 1)
    owner = Owner(tmp_path)
    segments.create(tmp_path, 2, 0o600)
    owner.store_batch()

    def push_first(fd: int, operation: int) -> None:
        monkeypatch.setattr(reading, "flock", fcntl.flock)
        append(tmp_path, encode("mail", record(2)))
        fcntl.flock(fd, operation)

    monkeypatch.setattr(reading, "flock", push_first)
    owner.advance()
    assert segment_names(tmp_path) == ["00000001.log", "00000002.log"]
    owner.take()
    assert owner.texts == ["1", "2"]
    assert segment_names(tmp_path) == ["00000002.log"]


def test_older_segments_come_first(tmp_path: Path) -> None:
    for number in (1, 2, 9, 10):
        _, fd = segments.open_newest(tmp_path, 0o600, above=number - 1)
        os.close(fd)
        if number == 2:
            segments.create(tmp_path, 9, 0o600)
    for number in (10, 1, 9, 2):
        append(tmp_path, encode("mail", record(number)), number)
    owner = Owner(tmp_path)
    assert owner.take() == ["1", "2", "9", "10"]
    assert segment_names(tmp_path) == ["00000010.log"]


def test_a_segment_that_producers_began_is_found_while_the_owner_runs(tmp_path: Path, inbox: Inbox) -> None:
    owner = Owner(tmp_path)
    push(inbox, 1)
    segments.create(tmp_path, 2, 0o600)
    inbox.close()
    push(inbox, 2)
    assert owner.intake.pending()
    assert owner.take() == ["1", "2"]
    assert segment_names(tmp_path) == ["00000002.log"]


def test_a_record_is_never_taken_in_before_an_older_one_of_its_producer(
    tmp_path: Path, inbox: Inbox, monkeypatch: Any
) -> None:
    push(inbox, 1)
    owner = Owner(tmp_path)
    segments.create(tmp_path, 2, 0o600)
    read_segment = intake_module.Intake._read_segment

    def read_late(self: Any, found: Any, *rest: Any) -> bool:
        done = read_segment(self, found, *rest)
        if found.number == 1 and not owner.texts:
            # between the two segments, one producer writes to the first and then to the second
            append(tmp_path, encode("mail", record(2)), 1)
            append(tmp_path, encode("mail", record(3)), 2)
        return done

    monkeypatch.setattr(intake_module.Intake, "_read_segment", read_late)
    owner.store_batch()
    assert owner.texts == ["1"]
    monkeypatch.undo()
    owner.advance()
    owner.take()
    assert owner.texts == ["1", "2", "3"]


def test_offsets_of_segments_that_are_no_more_are_given_back(tmp_path: Path) -> None:
    owner = Owner(tmp_path)
    owner.offsets[b"gone............"] = 500
    owner.crash()
    owner.take()
    assert owner.offsets == {} or b"gone............" not in owner.offsets


def test_a_torn_end_is_passed_over_kept_and_reported_once(tmp_path: Path, inbox: Inbox) -> None:
    owner = Owner(tmp_path)
    push(inbox, 1)
    torn = encode("mail", record("torn"))[:-1]
    append(tmp_path, torn)
    assert owner.take() == ["1"]
    assert kept(tmp_path) == [torn]
    assert len(owner.damage) == 1
    assert "00000001.log" in owner.damage[0]
    assert str(next((tmp_path / "aside").iterdir())) in owner.damage[0]
    assert not owner.intake.pending()
    push(inbox, 2)
    owner.crash()
    assert owner.take() == ["2"]
    assert len(owner.damage) == 1


def test_the_end_of_a_push_that_is_being_written_is_left_alone(tmp_path: Path, inbox: Inbox) -> None:
    owner = Owner(tmp_path)
    push(inbox, 1)
    frame = encode("mail", record("slow"))
    with open(segment(tmp_path), "ab", buffering=0) as writer:
        fcntl.flock(writer, fcntl.LOCK_SH)
        writer.write(frame[:30])
        assert owner.take() == ["1"]
        assert not owner.intake.pending()
        writer.write(frame[30:])
        assert owner.intake.pending()
        assert owner.take() == ["slow"]
    assert owner.damage == []


def test_what_was_judged_torn_can_not_be_truncated_by_its_writer(tmp_path: Path, inbox: Inbox) -> None:
    owner = Owner(tmp_path)
    push(inbox, 1)
    append(tmp_path, encode("mail", record("torn"))[:-1])
    end = segment(tmp_path).stat().st_size
    owner.take()
    assert segment(tmp_path).stat().st_size > end


def test_a_torn_end_that_can_not_be_marked_for_lack_of_space_waits(
    tmp_path: Path, inbox: Inbox, monkeypatch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    owner = Owner(tmp_path)
    push(inbox, 1)
    append(tmp_path, encode("mail", record("torn"))[:-1])

    def write(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        assert owner.take() == ["1"]
        assert not owner.intake.pending()
    assert "No space left" in caplog.text
    push(inbox, 2)
    assert owner.take() == ["2"]
    assert len(owner.damage) == 1


@pytest.mark.parametrize("at", [0, 3, 4, 7, 8, 11, 12, 14, 20, -1])
def test_a_damaged_record_in_the_middle_costs_only_itself(tmp_path: Path, inbox: Inbox, at: int) -> None:
    frame = bytearray(encode("mail", record("damaged")))
    frame[at] ^= 0x40
    owner = Owner(tmp_path)
    push(inbox, 1)
    append(tmp_path, bytes(frame))
    push(inbox, 2, 3)
    assert owner.take() == ["1", "2", "3"]
    assert kept(tmp_path) == [bytes(frame)]


def test_a_damaged_length_at_the_end_waits_for_no_bytes_that_never_come(tmp_path: Path, inbox: Inbox) -> None:
    owner = Owner(tmp_path)
    append(tmp_path, MAGIC + (50 << 20).to_bytes(4, "little") + b"none")
    assert owner.take() == []
    assert len(owner.damage) == 1
    push(inbox, 1)
    assert owner.take() == ["1"]


def test_a_segment_with_a_damaged_header_is_taken_in_and_left(tmp_path: Path, inbox: Inbox) -> None:
    push(inbox, 1, 2)
    inbox.close()
    with open(segment(tmp_path), "r+b") as file:
        file.write(b"what")
    owner = Owner(tmp_path)
    assert owner.store_batch(1)
    assert owner.texts == ["1"]
    owner.crash()
    owner.take()
    push(inbox, 3)
    owner.take()
    assert owner.texts == ["1", "2", "3"]
    assert segment_names(tmp_path) == ["00000002.log"]


def test_an_empty_segment_is_removed(tmp_path: Path, inbox: Inbox) -> None:
    push(inbox, 1)
    segment(tmp_path, 2).touch()
    owner = Owner(tmp_path)
    assert owner.take() == ["1"]
    assert segment_names(tmp_path) == ["00000003.log"]


def test_after_power_loss_an_offset_behind_the_end_hides_nothing(
    tmp_path: Path, inbox: Inbox, monkeypatch: Any
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(segments, "boot_id", lambda: b"yesterday.......")
        owner = Owner(tmp_path)
        push(inbox, *range(10))
        owner.take()
        inbox.close()
    os.truncate(segment(tmp_path), 300)
    push(inbox, *range(100, 120))
    owner.crash()
    assert owner.take() == [str(n) for n in range(100, 120)]
    assert segment_names(tmp_path) == ["00000002.log"]


def test_zeros_of_a_lost_write_are_passed_over_however_many(tmp_path: Path, inbox: Inbox) -> None:
    push(inbox, 1)
    os.truncate(segment(tmp_path), 300 << 20)
    push(inbox, 2)
    owner = Owner(tmp_path)
    assert owner.take() == ["1", "2"]
    assert all(len(data) <= aside.MAX_BYTES for data in kept(tmp_path))


def test_a_record_larger_than_the_buffer_is_read_whole(tmp_path: Path, inbox: Inbox) -> None:
    big = record("x" * (5 << 20))
    push(inbox, 1)
    inbox.append("mail", [big])
    push(inbox, 2)
    owner = Owner(tmp_path)
    owner.take()
    assert [found for _, found in owner.taken] == [record(1), big, record(2)]


def test_a_large_record_behind_large_damage_is_found(tmp_path: Path, inbox: Inbox) -> None:
    push(inbox, 1)
    damaged = bytearray(encode("mail", record("y" * (3 << 20))))
    damaged[5000] ^= 1
    append(tmp_path, bytes(damaged))
    push(inbox, "z" * (6 << 20))
    assert [len(text) for text in Owner(tmp_path).take()] == [1, 6 << 20]


def test_much_damage_neither_floods_the_log_nor_fills_the_disk(tmp_path: Path, inbox: Inbox, monkeypatch: Any) -> None:
    monkeypatch.setattr(aside, "MAX_FILES", 10)
    owner = Owner(tmp_path)
    for n in range(50):
        push(inbox, n)
        append(tmp_path, b"damage")
    push(inbox, "end")
    owner.take()
    assert owner.texts == [*map(str, range(50)), "end"]
    assert len(kept(tmp_path)) == 10
    assert len(owner.damage) == 11
    assert "further damage" in owner.damage[-1]


def test_damage_that_is_read_twice_is_kept_once(tmp_path: Path, inbox: Inbox) -> None:
    push(inbox, 1)
    append(tmp_path, b"damage")
    push(inbox, 2)
    intake = Owner(tmp_path).intake
    assert len(intake.read().damage) == 1
    assert intake.read().damage == []
    assert kept(tmp_path) == [b"damage"]


def test_damage_that_can_not_be_kept_stops_nothing(tmp_path: Path, inbox: Inbox) -> None:
    (tmp_path / "aside").write_text("a file in the way")
    push(inbox, 1)
    append(tmp_path, b"damage")
    push(inbox, 2)
    owner = Owner(tmp_path)
    assert owner.take() == ["1", "2"]
    assert "could not be kept" in owner.damage[0]


@pytest.mark.parametrize("mode", [0o600, 0o660])
def test_what_is_set_aside_has_the_permissions_of_the_settings(tmp_path: Path, inbox: Inbox, mode: int) -> None:
    append_to = Owner(tmp_path, mode=mode)
    append(tmp_path, b"damage")
    append_to.take()
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "aside").iterdir()] == [mode]


def test_no_space_for_a_fresh_segment_stops_nothing(tmp_path: Path, inbox: Inbox, monkeypatch: Any) -> None:
    owner = Owner(tmp_path, rotate_at=1)
    push(inbox, 1)

    def create(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(segments, "create", create)
        assert owner.take() == ["1"]
    push(inbox, 2)
    assert owner.take() == ["2"]
    assert "00000001.log" not in segment_names(tmp_path)


def test_the_inbox_may_be_removed_while_the_owner_runs(tmp_path: Path, inbox: Inbox) -> None:
    owner = Owner(tmp_path)
    push(inbox, 1)
    owner.take()
    shutil.rmtree(tmp_path / "inbox")
    assert owner.take() == []
    push(inbox, 2)
    assert owner.take() == ["2"]
    shutil.rmtree(tmp_path / "inbox")
    push(inbox, 3)
    assert owner.take() == ["3"]


def test_an_inbox_that_can_not_be_read_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "inbox").write_text("")
    with pytest.raises(StoreUnavailable, match=f"{tmp_path}/inbox: can not take the inbox in"):
        Owner(tmp_path)


def test_a_closed_intake_has_nothing_open(tmp_path: Path, inbox: Inbox) -> None:
    before = len(os.listdir("/proc/self/fd"))
    owner = Owner(tmp_path, rotate_at=1)
    for n in range(5):
        push(inbox, n)
        owner.take()
    owner.intake.close()
    inbox.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_board_shows_how_far_the_inbox_was_taken_in(tmp_path: Path, inbox: Inbox) -> None:
    board, reader = Board.create(tmp_path / "board"), BoardReader(tmp_path / "board")
    owner = Owner(tmp_path, board=board, rotate_at=500)
    assert (reader.position, reader.look().newest) == (Position(1, 0), 1)
    push(inbox, 1)
    owner.take()
    assert reader.position == Position(1, segment(tmp_path).stat().st_size)
    push(inbox, *range(20))
    owner.store_batch()
    assert reader.position.offset < segment(tmp_path).stat().st_size
    owner.advance()
    assert (reader.position, reader.look().newest) == (Position(2, 0), 2)
    reader.close()
    board.close()


def test_a_window_never_gives_up_a_frame_that_is_longer_than_itself(monkeypatch: Any, tmp_path: Path) -> None:
    # a small bound instead of 64 MiB: the largest frame, placed at every distance behind a stretch of zeros
    largest = frames.HEAD.size + 1000
    monkeypatch.setattr(reading, "_CHUNK", 64)
    monkeypatch.setattr(reading, "_WINDOW", 2 * largest)
    monkeypatch.setattr(reading, "MAX_FRAME", largest)
    frame = encode("mail", b"x" * (1000 - 6))
    assert len(frame) == largest
    segments.open_newest(tmp_path, 0o600)
    for zeros in range(0, 5 * largest, 37):
        segment(tmp_path).write_bytes(bytes(zeros) + frame + b"tail")
        found = reading.Reading.open(tmp_path / "inbox", 1)
        entries, at = [], 0
        while (step := found.window(at, found.size(), 10)[1]).end:
            entries += step.entries
            at += step.end
        found.close()
        assert (len(entries), at) == (1, zeros + largest)
