"""Whatever connects to the control socket, the runner goes on."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_graceful.exceptions import StoreUnavailable
from django_graceful.stores.leveldb import server
from django_graceful.stores.leveldb.control import MAX_REQUEST, ControlClient, NoRunner, encode
from tests.control.serving import FakeAdmin, raw, read_frame, serving


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Path]:
    with serving(tmp_path, FakeAdmin()):
        yield tmp_path


def ask_raw(directory: Path, body: bytes) -> Any:
    with raw(directory) as sock:
        sock.sendall(struct.pack(">I", len(body)) + body)
        return json.loads(read_frame(sock))


def still_serves(directory: Path) -> bool:
    return "mäil" in ControlClient(directory).counts()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b'"counts"',
        b'{"call": 1}',
        b'{"call": "counts", "args": {}}',
        b'{"call": "counts", "kwargs": []}',
        b'{"call": "counts", "args": [1]}',
        b'{"call": "pause", "kwargs": {"self": 1, "queue": "x"}}',
        b"[" * 200_000,
        b'{"call": "counts"} trailing',
    ],
)
def test_a_request_that_makes_no_sense_is_answered_with_an_error(served: Path, body: bytes) -> None:
    assert ask_raw(served, body)["error"] in ("ValueError", "TypeError")
    assert still_serves(served)


def test_a_request_that_announces_too_much_is_refused_without_reading_it(served: Path) -> None:
    with raw(served) as sock:
        sock.sendall(struct.pack(">I", MAX_REQUEST + 1) + b"x" * 1000)
        assert json.loads(read_frame(sock))["error"] == "ValueError"
    assert still_serves(served)


def test_a_client_reads_the_refusal_although_the_server_has_hung_up(
    served: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_REQUEST", 10)
    with pytest.raises(ValueError, match="too long"):
        ControlClient(served).get("x" * 4_000_000)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_never_stop_the_server(served: Path, data: bytes) -> None:
    with raw(served) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        while read_frame(sock):
            pass
    assert still_serves(served)


def test_damaged_requests_never_stop_the_server(served: Path) -> None:
    dice = random.Random(7)
    good = encode({"call": "request_cancel", "args": ["id"], "kwargs": {"by": "anna"}})
    with raw(served) as sock:
        for _ in range(500):
            body = bytearray(good[4:])
            for _ in range(dice.randint(1, 3)):
                body[dice.randrange(len(body))] = dice.randrange(256)
            sock.sendall(good[:4] + body)
            assert json.loads(read_frame(sock)).keys() in ({"result"}, {"error", "message"})


def test_requests_sent_byte_by_byte_and_many_at_once_are_answered_in_order(served: Path) -> None:
    with raw(served) as sock:
        for byte in encode({"call": "ping"}):
            sock.sendall(bytes([byte]))
        assert json.loads(read_frame(sock)) == {"result": os.getpid()}
        sock.sendall(encode({"call": "nonsense"}) + encode({"call": "ping"}) * 3)
        assert "error" in json.loads(read_frame(sock))
        assert [json.loads(read_frame(sock)) for _ in range(3)] == [{"result": os.getpid()}] * 3


def test_silent_peers_keep_nobody_waiting_and_the_longest_silent_one_makes_room(served: Path) -> None:
    silent = [raw(served) for _ in range(server.MAX_PEERS)]
    try:
        assert still_serves(served)
        assert silent[0].recv(1) == b"", "the first one has been cut"
        silent[-1].sendall(encode({"call": "ping"}))
        assert read_frame(silent[-1])
    finally:
        for sock in silent:
            sock.close()


def test_a_peer_with_many_requests_at_once_takes_turns_with_the_others(tmp_path: Path) -> None:
    served: list[str] = []
    loop = asyncio.new_event_loop()
    extra = {"greedy": lambda: served.append("greedy"), "modest": lambda: served.append("modest")}
    server_ = server.ControlServer(tmp_path, FakeAdmin(), extra=extra)
    loop.run_until_complete(server_.start())
    with raw(tmp_path) as greedy, raw(tmp_path) as modest:
        greedy.sendall(encode({"call": "greedy"}) * 200)
        modest.sendall(encode({"call": "modest"}))
        while "modest" not in served or served.count("greedy") < 200:
            loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(server_.close())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    assert served.index("modest") < 20


def test_peers_that_come_while_the_server_closes_are_cut_off_and_leave_nothing_open(tmp_path: Path) -> None:
    for _ in range(30):
        with serving(tmp_path, FakeAdmin()):
            sockets = [raw(tmp_path) for _ in range(3)]
        for sock in sockets:
            with sock, suppress(ConnectionResetError):
                assert sock.recv(1) == b""
    gc.collect()  # an unclosed socket would warn now


def test_a_peer_that_stays_silent_is_cut_off(served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PATIENCE", 0.05)
    with raw(served) as sock:
        sock.sendall(b"\x00\x00")
        assert sock.recv(1) == b""
    monkeypatch.undo()
    assert still_serves(served)


def test_a_peer_that_never_reads_its_answers_keeps_nobody_waiting(
    served: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "PATIENCE", 0.05)
    with raw(served) as sock:
        sock.settimeout(0.5)
        many = encode({"call": "page", "args": ["mail", "dead"]}) * 100_000
        with pytest.raises(OSError):  # its own buffer is full, or it has been cut off already
            sock.sendall(many)
        assert still_serves(served)


def test_another_user_is_refused_with_an_error_that_names_him(
    served: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "refuse", lambda peer, directory, mode: "user 77 (pid 9) may not control this store")
    with pytest.raises(StoreUnavailable, match="user 77"):
        ControlClient(served).counts()
    assert "user 77" in caplog.text


class Peer:
    """A socket whose credentials are what the test says."""

    def __init__(self, uid: int, gid: int, groups: tuple[int, ...] | None = ()) -> None:
        self.credentials = struct.pack("3i", 4321, uid, gid)
        self.groups = groups

    def getsockopt(self, level: int, option: int, length: int) -> bytes:
        if option == socket.SO_PEERCRED:
            return self.credentials
        if self.groups is None:
            raise OSError("ERANGE")
        return struct.pack(f"{len(self.groups)}I", *self.groups)


@pytest.mark.parametrize(
    ("peer", "mode", "allowed"),
    [
        (Peer(os.geteuid(), 1), 0o600, True),
        (Peer(0, 0), 0o600, True),
        (Peer(4242, os.getegid()), 0o600, False),
        (Peer(4242, os.getegid()), 0o660, True),
        (Peer(4242, 999, (5, os.getegid())), 0o660, True),
        (Peer(4242, 999, (5, 6)), 0o660, False),
        (Peer(4242, 999, None), 0o660, False),
    ],
)
def test_the_owner_root_and_with_group_mode_the_group_may_ask(
    tmp_path: Path, peer: Any, mode: int, allowed: bool
) -> None:
    refusal = server.refuse(peer, tmp_path, mode)
    assert (refusal == "") is allowed
    assert allowed or "user 4242 (pid 4321) may not control this store" in refusal


def test_the_kernel_says_that_we_are_who_we_are(tmp_path: Path) -> None:
    here, there = socket.socketpair(socket.AF_UNIX)
    with here, there:
        assert server.refuse(here, tmp_path, 0o600) == ""
        assert set(os.getgroups()) <= set(server._groups(here))


@pytest.mark.parametrize("mode", [0o600, 0o660])
@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_socket_has_exactly_the_permissions_asked_for(tmp_path: Path, mode: int, umask: int) -> None:
    before = os.umask(umask)
    try:
        with serving(tmp_path, FakeAdmin(), mode):
            assert (tmp_path / "control.sock").stat().st_mode & 0o777 == mode
    finally:
        os.umask(before)


def test_a_socket_that_a_killed_owner_left_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(tmp_path / "control.sock"))
    with pytest.raises(NoRunner):
        ControlClient(tmp_path).counts()
    with serving(tmp_path, FakeAdmin()):
        assert still_serves(tmp_path)
    assert not (tmp_path / "control.sock").exists()
