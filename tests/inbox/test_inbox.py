"""Pushing: one write to the right segment, and a clear error or nothing at all."""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from django_graceful.exceptions import PayloadTooLarge, StoreFull, StoreUnavailable
from django_graceful.stores.leveldb import inbox as inbox_module
from django_graceful.stores.leveldb import segments
from django_graceful.stores.leveldb.board import Board, BoardReader
from django_graceful.stores.leveldb.inbox import Inbox
from django_graceful.stores.leveldb.wake import WakeReceiver
from tests.inbox.helpers import Owner, record, segment_names


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "store"


@pytest.fixture
def inbox(store: Path) -> Iterator[Inbox]:
    found = Inbox(store)
    yield found
    found.close()


def test_an_owner_finds_what_was_pushed_in_order(store: Path, inbox: Inbox) -> None:
    inbox.append("mail", [record(1)])
    inbox.append("search", [record(2), record(3)])
    inbox.append("mail", [])
    inbox.append("mail", [record(4)])
    owner = Owner(store)
    assert owner.take() == ["1", "2", "3", "4"]
    assert [queue for queue, _ in owner.taken] == ["mail", "search", "search", "mail"]


def test_nothing_is_opened_or_made_before_the_first_push(store: Path) -> None:
    Inbox(store).close()
    assert not store.exists()


def test_a_closed_inbox_has_nothing_open_and_opens_again(store: Path, inbox: Inbox) -> None:
    board, receiver = Board.create(_made(store) / "board"), WakeReceiver(store)
    board.sleeping = True
    before = len(os.listdir("/proc/self/fd"))
    for n in range(3):
        inbox.append("mail", [record(n)], 10)
        assert len(os.listdir("/proc/self/fd")) == before + 3
        inbox.close()
        assert len(os.listdir("/proc/self/fd")) == before
    assert Owner(store).take() == ["0", "1", "2"]
    receiver.close()
    board.close()


def _made(store: Path) -> Path:
    store.mkdir(parents=True)
    return store


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize(("mode", "folder"), [(0o600, 0o700), (0o660, 0o770)])
def test_permissions_are_those_of_the_settings_whatever_the_umask(
    store: Path, mode: int, folder: int, umask: int
) -> None:
    before = os.umask(umask)
    try:
        inbox = Inbox(store, mode)
        inbox.append("mail", [record(1)])
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (store, *store.rglob("*"))}
    assert modes == {"store": folder, "inbox": folder, "00000001.log": mode}
    inbox.close()


def test_what_root_makes_belongs_to_the_user_of_the_directory(store: Path, monkeypatch: Any) -> None:
    home, stat = _made(store).stat(), os.stat
    there = (home.st_uid + 1, home.st_gid + 1)
    given: list[tuple[Any, ...]] = []

    def pretend(path: Any, **options: Any) -> Any:
        found = stat(path, **options)
        return os.stat_result((*found[:4], *there, *found[6:])) if path == store else found

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", pretend)
        patch.setattr(os, "geteuid", lambda: 0)
        patch.setattr(os, "chown", lambda target, *ids: given.append((_name(target)[:5], *ids)))
        inbox = Inbox(store)
        inbox.append("mail", [record(1)])
    assert given == [("inbox", *there), (".new-", *there)]
    inbox.close()


def _name(target: int | Path) -> str:
    return Path(os.readlink(f"/proc/self/fd/{target}") if isinstance(target, int) else target).name


def test_paths_longer_than_a_socket_name_may_be_work(tmp_path: Path) -> None:
    store = tmp_path.joinpath(*["a long name of a directory"] * 8)
    inbox = Inbox(store)
    inbox.append("mail", [record(1)])
    owner = Owner(store)
    assert owner.take() == ["1"]
    inbox.close()


def test_a_file_in_the_place_of_the_directory_is_an_error_that_names_it(store: Path, inbox: Inbox) -> None:
    (_made(store) / "inbox").write_text("")
    with pytest.raises(StoreUnavailable, match=rf"{store}: can not push"):
        inbox.append("mail", [record(1)])
    (store / "inbox").unlink()
    inbox.append("mail", [record(1)])


def test_a_directory_that_may_not_be_written_is_an_error_that_names_path_user_and_remedy() -> None:
    inbox = Inbox(Path("/proc/1/fdinfo"))
    with pytest.raises(StoreUnavailable, match="push") as caught:
        inbox.append("mail", [record(1)])
    assert "/proc/1/fdinfo" in str(caught.value)
    forbidden = PermissionError(13, "Permission denied", "/srv/store/inbox")
    message = str(inbox_module.explain(forbidden, Path("/srv/store"), "push"))
    assert all(
        part in message
        for part in (f"/srv/store: user {pwd.getpwuid(os.geteuid()).pw_name} may not push", "/srv/store/inbox", "0o660")
    )


def test_no_space_is_store_full_and_says_so(store: Path, inbox: Inbox, monkeypatch: Any) -> None:
    inbox.append("mail", [record(1)])

    def write(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(inbox_module.os, "write", write)
        with pytest.raises(StoreFull, match=r"No space left on device.*Free space"):
            inbox.append("mail", [record(2)])
    inbox.append("mail", [record(3)])
    assert Owner(store).take() == ["1", "3"]


def test_a_push_that_fitted_by_half_is_taken_back(store: Path, inbox: Inbox, monkeypatch: Any) -> None:
    inbox.append("mail", [record(1)])
    size = (store / "inbox" / "00000001.log").stat().st_size
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(inbox_module.os, "write", lambda fd, data: write(fd, data[:40]))
        with pytest.raises(StoreFull, match=r"40 of .* bytes fitted"):
            inbox.append("mail", [record(2)])
    assert (store / "inbox" / "00000001.log").stat().st_size == size
    inbox.append("mail", [record(3)])
    owner = Owner(store)
    assert (owner.take(), owner.damage) == (["1", "3"], [])


def test_half_a_push_that_can_not_be_taken_back_is_passed_over(store: Path, inbox: Inbox, monkeypatch: Any) -> None:
    inbox.append("mail", [record(1)])
    other = os.open(store / "inbox" / "00000001.log", os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_SH)  # another producer is at work
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(inbox_module.os, "write", lambda fd, data: write(fd, data[:-1]))
        with pytest.raises(StoreFull):
            inbox.append("mail", [record(n) for n in range(100, 200)])
    inbox.append("mail", [record(3)])
    os.close(other)
    owner = Owner(store)
    assert owner.take() == ["1", "3"]
    assert len(owner.damage) == 1


def test_half_a_push_with_another_behind_it_is_not_truncated(store: Path, inbox: Inbox, monkeypatch: Any) -> None:
    inbox.append("mail", [record(1)])
    other = Inbox(store)
    other.append("mail", [record(2)])
    write = os.write

    def write_half(fd: int, data: bytes) -> int:
        written = write(fd, data[:20])
        with monkeypatch.context() as patch:
            patch.setattr(inbox_module.os, "write", write)
            other.append("mail", [record("behind")])
        return written

    with monkeypatch.context() as patch:
        patch.setattr(inbox_module.os, "write", write_half)
        with pytest.raises(StoreFull):
            inbox.append("mail", [record("half")])
    assert Owner(store).take() == ["1", "2", "behind"]
    other.close()


def test_too_large_a_push_is_refused_and_leaves_nothing(store: Path, inbox: Inbox) -> None:
    with pytest.raises(PayloadTooLarge):
        inbox.append("mail", [bytes(65 << 20)])
    assert Owner(store).take() == []


def test_a_sealed_segment_is_left_for_the_next_one(store: Path, inbox: Inbox) -> None:
    inbox.append("mail", [record(1)])
    owner = Owner(store, rotate_at=1)
    assert owner.take() == ["1"]
    assert segment_names(store) == ["00000002.log"]
    inbox.append("mail", [record(2)])
    assert owner.take() == ["2"]


def test_a_segment_that_is_sealed_while_it_still_has_another_name_is_left_too(store: Path, inbox: Inbox) -> None:
    inbox.append("mail", [record(1)])
    os.link(store / "inbox" / "00000001.log", store / "backup")
    owner = Owner(store, rotate_at=1)
    owner.take()
    inbox.append("mail", [record(2)])
    assert owner.take() == ["2"]


def test_a_producer_moves_on_when_the_owner_wants_to_seal_its_segment(store: Path, inbox: Inbox) -> None:
    inbox.append("mail", [record(1)])
    board = Board.create(store / "board")
    owner = Owner(store, rotate_at=1, board=board)
    busy = os.open(store / "inbox" / "00000001.log", os.O_RDWR)
    fcntl.flock(busy, fcntl.LOCK_SH)  # a producer that was stopped in its push
    owner.take()
    assert segment_names(store) == ["00000001.log", "00000002.log"]
    inbox.append("mail", [record(2)])
    size = (store / "inbox" / "00000001.log").stat().st_size
    inbox.append("mail", [record(3)])
    assert (store / "inbox" / "00000001.log").stat().st_size == size
    assert owner.take() == ["2", "3"]
    assert owner.intake.segments[0][1] == (store / "inbox" / "00000001.log").stat().st_size
    # what is counted as waiting starts behind the first one, though that is still there
    reader = BoardReader(store / "board")
    assert reader.position.segment > 1
    reader.close()
    os.close(busy)
    inbox.append("mail", [record(4)])
    owner.take()
    assert "00000001.log" not in segment_names(store)
    board.close()


def test_a_removed_directory_is_made_anew(store: Path, inbox: Inbox) -> None:
    inbox.append("mail", [record(1)])
    shutil.rmtree(store)
    inbox.append("mail", [record(2)])
    assert Owner(store).take() == ["2"]


def test_an_owner_that_was_stopped_with_the_exclusive_lock_blocks_no_push(store: Path, inbox: Inbox) -> None:
    inbox.append("mail", [record(1)])
    stopped = os.open(store / "inbox" / "00000001.log", os.O_RDWR)
    fcntl.flock(stopped, fcntl.LOCK_EX)
    started = monotonic()
    inbox.append("mail", [record(2)])
    inbox.append("mail", [record(3)])
    assert monotonic() - started < 4
    assert segment_names(store) == ["00000001.log", "00000002.log"]
    os.close(stopped)
    assert Owner(store).take() == ["1", "2", "3"]


def test_a_segment_of_an_earlier_boot_is_not_appended_to(store: Path, inbox: Inbox, monkeypatch: Any) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(segments, "boot_id", lambda: b"yesterday.......")
        inbox.append("mail", [record(1)])
        inbox.close()
    inbox.append("mail", [record(2)])
    assert segment_names(store) == ["00000001.log", "00000002.log"]
    assert Owner(store).take() == ["1", "2"]


def test_a_segment_with_a_damaged_header_is_not_appended_to(store: Path, inbox: Inbox) -> None:
    inbox.append("mail", [record(1)])
    inbox.close()
    with open(store / "inbox" / "00000001.log", "r+b") as file:
        file.write(b"damaged")
    inbox.append("mail", [record(2)])
    assert segment_names(store) == ["00000001.log", "00000002.log"]
    assert Owner(store).take() == ["1", "2"]


def test_two_makers_of_one_segment_agree_on_the_first(store: Path, inbox: Inbox) -> None:
    inbox.append("mail", [record(1)])
    before = (store / "inbox" / "00000001.log").read_bytes()
    segments.create(store, 1, 0o600)
    assert (store / "inbox" / "00000001.log").read_bytes() == before
    assert os.listdir(store / "inbox") == ["00000001.log"]


def test_leftovers_of_killed_makers_are_removed(store: Path, inbox: Inbox) -> None:
    inbox.append("mail", [record(1)])
    (store / "inbox" / ".new-1-dead").touch()
    Owner(store)
    assert os.listdir(store / "inbox") == ["00000001.log"]


def test_a_maker_whose_file_was_taken_for_a_leftover_makes_another(store: Path, inbox: Inbox, monkeypatch: Any) -> None:
    link = os.link

    def clean_first(source: Path, target: Path) -> None:
        monkeypatch.setattr(os, "link", link)
        segments.clean(store / "inbox")
        link(source, target)

    monkeypatch.setattr(os, "link", clean_first)
    inbox.append("mail", [record(1)])
    assert Owner(store).take() == ["1"]
    assert os.listdir(store / "inbox") == ["00000001.log"]


def test_with_fsync_a_push_is_on_the_disk_when_it_returns(store: Path, monkeypatch: Any) -> None:
    synced: list[str] = []
    for name in ("fsync", "fdatasync"):
        real = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda fd, real=real: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), real(fd))
        )
    inbox = Inbox(store, fsync=True)
    inbox.append("mail", [record(1)])
    directory = str(store / "inbox")
    assert {str(store.parent), str(store), directory} <= set(synced)
    assert synced[-1] == f"{directory}/00000001.log"
    synced.clear()
    inbox.append("mail", [record(2)])
    assert synced == [f"{directory}/00000001.log"]
    inbox.close()


def test_threads_share_an_inbox_and_lose_nothing(store: Path, inbox: Inbox) -> None:
    def push(name: str) -> None:
        for n in range(300):
            inbox.append("mail", [record(f"{name} {n}")], 100_000)

    threads = [threading.Thread(target=push, args=(name,)) for name in "abcd"]
    owner = Owner(store, rotate_at=5000)
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        owner.take()
    for thread in threads:
        thread.join()
    owner.take()
    for name in "abcd":
        assert [text for text in owner.texts if text.startswith(name)] == [f"{name} {n}" for n in range(300)]


def test_a_signal_handler_may_push_while_its_thread_is_in_a_push(store: Path, inbox: Inbox, monkeypatch: Any) -> None:
    write = os.write

    def interrupted(fd: int, data: bytes) -> int:
        monkeypatch.setattr(inbox_module.os, "write", write)
        signal.raise_signal(signal.SIGUSR1)
        # the lock of the outer push must have survived the inner one
        with pytest.raises(BlockingIOError), open(store / "inbox" / "00000001.log", "r+b") as other:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return write(fd, data)

    inbox.append("mail", [record("first")])
    before = signal.signal(signal.SIGUSR1, lambda *_: inbox.append("mail", [record("inner")]))
    try:
        monkeypatch.setattr(inbox_module.os, "write", interrupted)
        inbox.append("mail", [record("outer")])
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert Owner(store).take() == ["first", "inner", "outer"]


def test_an_exception_out_of_a_signal_handler_leaves_no_lock(store: Path, inbox: Inbox, monkeypatch: Any) -> None:
    def interrupted(fd: int, data: bytes) -> int:
        raise KeyboardInterrupt

    inbox.append("mail", [record(1)])
    with monkeypatch.context() as patch:
        patch.setattr(inbox_module.os, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            inbox.append("mail", [record("interrupted")])
    with open(store / "inbox" / "00000001.log", "r+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    inbox.append("mail", [record(2)])
    assert Owner(store).take() == ["1", "2"]


def test_a_sleeping_owner_is_woken_and_an_awake_one_gets_nothing(store: Path, inbox: Inbox) -> None:
    board, receiver = Board.create(_made(store) / "board"), WakeReceiver(store)
    inbox.append("mail", [record(1)])
    with pytest.raises(BlockingIOError):
        receiver.socket.recv(16)
    board.sleeping = True
    inbox.append("mail", [record(2)])
    assert receiver.socket.recv(16) == b"!"
    board.sleeping = False
    inbox.append("mail", [record(3)])
    with pytest.raises(BlockingIOError):
        receiver.socket.recv(16)
    receiver.close()
    board.close()


def test_an_owner_that_was_killed_in_its_sleep_costs_nothing(store: Path, inbox: Inbox) -> None:
    board, receiver = Board.create(_made(store) / "board"), WakeReceiver(store)
    board.sleeping = True
    inbox.append("mail", [record(1)])
    receiver.close()
    inbox.append("mail", [record(2)])
    (store / "wake.sock").unlink()
    inbox.append("mail", [record(3)])
    assert Owner(store).take() == ["1", "2", "3"]
    board.close()
