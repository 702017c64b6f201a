"""Waking the owner: one datagram, wherever the directory lies and whoever had the socket before."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from django_graceful.stores.leveldb.wake import WakeReceiver, WakeSender


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[WakeReceiver]:
    found = WakeReceiver(tmp_path)
    yield found
    found.close()


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[WakeSender]:
    found = WakeSender(tmp_path)
    yield found
    found.close()


def is_awake(receiver: WakeReceiver, seconds: float = 0) -> bool:
    return bool(select.select([receiver.socket], [], [], seconds)[0])


def test_a_sender_wakes_the_receiver(receiver: WakeReceiver, sender: WakeSender) -> None:
    assert not is_awake(receiver)
    assert sender.send()
    assert is_awake(receiver, 10)


def test_draining_forgets_all_wake_ups(receiver: WakeReceiver, sender: WakeSender) -> None:
    for _ in range(5):
        sender.send()
    receiver.drain()
    assert not is_awake(receiver)
    receiver.drain()
    sender.send()
    assert is_awake(receiver, 10)


def test_nobody_to_wake_is_no_error(tmp_path: Path, sender: WakeSender) -> None:
    assert not sender.send()
    assert not WakeSender(tmp_path / "missing").send()


def test_many_wake_ups_never_block_the_sender(receiver: WakeReceiver, sender: WakeSender) -> None:
    assert all(sender.send() for _ in range(5000))
    assert is_awake(receiver)


def test_a_path_longer_than_a_socket_name_may_be_works(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a long name of a directory"] * 8)
    deep.mkdir(parents=True)
    assert len(str(deep)) > 107
    receiver, sender = WakeReceiver(deep), WakeSender(deep)
    assert sender.send()
    assert is_awake(receiver, 10)
    receiver.close()
    sender.close()


def test_the_next_owner_takes_the_place_of_a_killed_one_and_connected_senders_find_it(
    tmp_path: Path, sender: WakeSender
) -> None:
    first = WakeReceiver(tmp_path)
    assert sender.send()
    first.close()  # what a SIGKILL leaves: the file, and nobody behind it
    assert (tmp_path / "wake.sock").is_socket()
    assert not sender.send()
    second = WakeReceiver(tmp_path)
    assert sender.send()
    assert is_awake(second, 10)
    second.close()


def test_a_sender_notices_with_its_next_wake_up_that_the_owner_was_replaced(tmp_path: Path, sender: WakeSender) -> None:
    first = WakeReceiver(tmp_path)
    assert sender.send()
    first.close()
    second = WakeReceiver(tmp_path)
    assert sender.send()
    assert is_awake(second, 10)
    second.close()


def test_an_ordinary_file_in_the_way_is_replaced(tmp_path: Path, sender: WakeSender) -> None:
    (tmp_path / "wake.sock").write_text("what is this?")
    (tmp_path / ".wake.sock.new").write_text("left by an owner that was killed while it bound")
    receiver = WakeReceiver(tmp_path)
    assert sender.send()
    assert is_awake(receiver, 10)
    receiver.close()


@pytest.mark.parametrize("umask", [0o000, 0o077])
@pytest.mark.parametrize("mode", [0o600, 0o660])
def test_its_permissions_are_those_of_the_settings(tmp_path: Path, mode: int, umask: int) -> None:
    before = os.umask(umask)
    try:
        receiver = WakeReceiver(tmp_path, mode)
    finally:
        os.umask(before)
    assert (tmp_path / "wake.sock").stat().st_mode & 0o777 == mode
    assert os.listdir(tmp_path) == ["wake.sock"]
    receiver.close()


def test_a_directory_that_can_not_be_written_is_an_error_and_leaks_nothing(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match=r"."):
        WakeReceiver(tmp_path / "missing")
    with pytest.raises(OSError, match=r"."):
        WakeReceiver(Path("/proc/self"))
    assert len(os.listdir("/proc/self/fd")) == before
