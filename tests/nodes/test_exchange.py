"""The exchange of a LevelDB store, on its sockets: who may ask, who is slow, who is dead, and who sends garbage."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from django_graceful import nodes, process
from django_graceful.conf import StoreConf, get_conf
from django_graceful.exceptions import StoreUnavailable
from django_graceful.nodes import node_name
from django_graceful.processes import Process, enter, leave
from django_graceful.stores import get_store
from django_graceful.stores.leveldb import hearing
from django_graceful.stores.leveldb import nodes as exchanges
from django_graceful.stores.leveldb.control import LENGTH
from django_graceful.stores.leveldb.nodes import LevelDBExchange
from tests.control.serving import FakeAdmin, serving
from tests.nodes.conftest import descriptors

DESCRIBE = json.dumps({"call": "describe"}).encode()


@pytest.fixture
def home(store_path: Path) -> Path:
    """The directory of the sockets; this process is a node."""
    nodes.join("web")
    return store_path / "nodes"


def raw(home: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(10)
    sock.connect(str(home / f"{node_name()}.sock"))
    return sock


def frame(body: bytes) -> bytes:
    return LENGTH.pack(len(body)) + body


def answer(sock: socket.socket) -> Any:
    """One answer; None at the end of the stream."""
    with sock.makefile("rb") as file:
        head = file.read(LENGTH.size)
        return json.loads(file.read(LENGTH.unpack(head)[0])) if head else None


def ask(home: Path, body: bytes) -> Any:
    with raw(home) as sock:
        sock.sendall(frame(body))
        return answer(sock)


def frozen(home: Path, name: str = "0000aaaa") -> socket.socket:
    """A node that listens and never answers."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(str(home / f"{name}.sock"))
    sock.listen(64)
    return sock


def test_a_request_may_come_in_pieces(home: Path) -> None:
    with raw(home) as sock:
        request = frame(DESCRIBE)
        for part in (request[:2], request[2:9], request[9:]):
            assert ask(home, DESCRIBE)["result"]["node"] == node_name(), "the part before was read by now"
            sock.sendall(part)
        assert answer(sock)["result"]["node"] == node_name()


def test_a_long_answer_reaches_a_slow_reader(home: Path) -> None:
    with process("x" * 3_000_000) as long:
        with raw(home) as sock:
            sock.sendall(frame(DESCRIBE))
            assert ask(home, DESCRIBE)["result"]["node"] == node_name(), "others are served meanwhile"
            (row,) = answer(sock)["result"]["processes"]
        assert row["id"] == long.id
        (node,) = nodes.running()
        assert len(node["processes"][0]["description"]) == 3_000_000


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"nonsense",
        b"[]",
        b'{"call": "order"}',
        b'{"call": "exit", "args": [3]}',
        b'{"call": "order", "args": [3]}',
    ],
)
def test_garbage_is_answered_with_an_error_and_the_next_is_served(
    home: Path, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.CRITICAL):
        assert "error" in ask(home, garbage)
    assert len(nodes.running()) == 1


def test_a_request_that_claims_to_be_huge_is_hung_up_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearing, "PATIENCE", 60.0)
    with raw(home) as sock:
        sock.sendall(LENGTH.pack(hearing.MAX_REQUEST + 1) + b"x" * 100)
        with suppress(ConnectionResetError):  # what it did not read is thrown away
            assert sock.recv(1) == b""
    assert len(nodes.running()) == 1


def test_silent_peers_keep_nobody_waiting_and_are_let_go(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearing, "PATIENCE", 0.2)
    peers = [raw(home) for _ in range(5)]
    assert len(nodes.running()) == 1
    for peer in peers:
        assert peer.recv(1) == b"", "it is hung up on when its time is over"
        peer.close()


def test_too_many_peers_cost_the_one_that_waited_longest(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearing, "MAX_PEERS", 3)
    peers = [raw(home) for _ in range(4)]
    assert peers[0].recv(1) == b""
    peers[3].sendall(frame(DESCRIBE))
    assert answer(peers[3])["result"]["node"] == node_name()
    for peer in peers:
        peer.close()


def test_peers_leave_no_descriptor(home: Path) -> None:
    nodes.running()
    before = descriptors()
    for _ in range(50):
        nodes.running()
        raw(home).close()
    deadline = time.monotonic() + 10
    while descriptors() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert descriptors() <= before


def test_who_may_not_use_the_store_may_not_ask(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[tuple[Path, int]] = []

    def refuse(peer: Any, directory: Path, mode: int) -> str:
        credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        assert int.from_bytes(credentials[:4], "little") == os.getpid()
        asked.append((directory, mode))
        return "user 4242 may not"

    monkeypatch.setattr(exchanges, "refuse", refuse)
    with process("work") as work, raw(home) as sock:
        assert sock.recv(1) == b""
        sock.close()
        assert asked == [(home.parent, 0o600)]
        assert nodes.running() == [{"node": node_name(), "pid": os.getpid(), "silent": True}]
        with pytest.raises(StoreUnavailable, match="did not answer"):
            nodes.cancel(work.id)
        assert work.stop is None
    assert "user 4242 may not" in caplog.text


def test_a_store_that_was_removed_ends_nobodys_thread(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(peer: Any, directory: Path, mode: int) -> str:
        raise FileNotFoundError(2, "gone", str(directory))

    with monkeypatch.context() as patch:
        patch.setattr(exchanges, "refuse", refuse)
        with raw(home) as sock:
            assert sock.recv(1) == b""
        assert "gone" in caplog.text
    assert ask(home, DESCRIBE)["result"]["node"] == node_name()


def test_the_group_of_the_store_may_ask_where_the_mode_says_so(tmp_path: Path, settings: Any) -> None:
    settings.GRACEFUL = {"STORES": {"default": {"BACKEND": "leveldb", "PATH": tmp_path / "store", "MODE": 0o660}}}
    nodes.join()
    directory = tmp_path / "store" / "nodes"
    assert directory.stat().st_mode & 0o777 == 0o770
    assert (directory / f"{node_name()}.sock").stat().st_mode & 0o777 == 0o660


def test_a_store_deep_down_has_nodes_too(tmp_path: Path) -> None:
    conf = StoreConf("deep", "leveldb", tmp_path / "/".join(["a folder with a long name"] * 8) / "store")
    exchange = LevelDBExchange(conf)
    exchange.join("0000aaaa", lambda: {"node": "0000aaaa"}, lambda order: order)
    assert exchange.nodes() == [{"node": "0000aaaa"}]
    assert exchange.order("0000aaaa", {"any": 1}) == {"any": 1}
    exchange.leave()
    assert exchange.nodes() == []


def test_a_frozen_node_is_listed_as_silent_and_costs_half_a_second_for_all(home: Path) -> None:
    with frozen(home), frozen(home, "0000bbbb"):
        begin, worked = time.monotonic(), time.process_time()
        found = nodes.running()
        assert 0.3 < time.monotonic() - begin < 1.5
        assert time.process_time() - worked < 0.06, "it waits, and does not ask again and again"
    silent = [{"node": name, "pid": os.getpid(), "silent": True} for name in ("0000aaaa", "0000bbbb")]
    assert sorted(found, key=lambda node: node["node"]) == sorted(
        [*silent, *(node for node in found if not node.get("silent"))], key=lambda node: node["node"]
    )
    assert len(found) == 3


def test_a_frozen_node_whose_queue_is_full_is_silent_at_once(home: Path) -> None:
    listener = frozen(home)
    listener.listen(1)
    with listener:
        waiting = []
        for _ in range(3):
            peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            peer.connect_ex(str(home / "0000aaaa.sock"))
            waiting.append(peer)
        assert {"node": "0000aaaa", "pid": None, "silent": True} in nodes.running()
        for peer in waiting:
            peer.close()


def test_an_order_to_a_frozen_node_says_that_it_may_still_be_done(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchanges, "ORDER", 0.1)
    with frozen(home), pytest.raises(StoreUnavailable, match=r"node 0000aaaa \(pid \d+\) did not answer .* may still"):
        nodes.cancel("0000aaaa.1")


def test_what_a_dead_node_left_is_removed_by_the_next_look_and_by_an_order(home: Path) -> None:
    frozen(home).close()
    assert [node["node"] for node in nodes.running()] == [node_name()]
    assert os.listdir(home) == [f"{node_name()}.sock"]
    frozen(home).close()
    assert nodes.cancel("0000aaaa.1") == "unknown"
    assert os.listdir(home) == [f"{node_name()}.sock"]


def test_what_dead_nodes_left_is_removed_by_the_next_that_joins_and_nothing_of_the_living(home: Path) -> None:
    nodes.leave()
    with frozen(home, "0000bbbb"):
        for n in range(5):
            frozen(home, f"0000aaa{n}").close()
        nodes.join()
        assert sorted(os.listdir(home)) == sorted(["0000bbbb.sock", f"{node_name()}.sock"])


def test_a_node_that_dies_while_it_answers_is_silent_this_time(home: Path) -> None:
    with frozen(home) as listener:

        def die() -> None:
            listener.accept()[0].close()

        thread = threading.Thread(target=die)
        thread.start()
        found = nodes.running()
        thread.join(10)
    assert {"node": "0000aaaa", "pid": os.getpid(), "silent": True} in found


def test_other_files_in_the_directory_are_nobody(home: Path) -> None:
    (home / "readme").touch()
    (home / ".0000aaaa.sock.new").touch()
    assert len(nodes.running()) == 1
    assert len(os.listdir(home)) == 3


def test_an_owner_that_knows_no_nodes_is_none(store_path: Path) -> None:
    """A tool that has the store open, or a runner of before."""
    store_path.mkdir()
    with serving(store_path, FakeAdmin()):
        assert nodes.running() == []
        assert nodes.cancel("0000aaaa.1") == "unknown"
        assert nodes.cancel("default.x1") == "unknown"


def test_a_runners_calls_are_on_the_control_socket(store_path: Path) -> None:
    store_path.mkdir()
    orders: list[Any] = []

    def obey(order: Any) -> Any:
        orders.append(order)
        return {"reply": "asked"}

    row = {"id": "default.x1f", "parent": None}
    node = {"node": "0000cccc", "kind": "runner", "since": 1.0, "processes": [row]}
    with serving(store_path, FakeAdmin(), extra={"describe": lambda: node, "order": obey}):
        assert nodes.running() == [node]
        assert nodes.cancel("default.x1f", by="ada", reason="why") == "asked"
        assert nodes.cancel("default.x20") == "unknown"
        assert nodes.cancel("other.x1f") == "unknown"
    assert orders == [{"cancel": "default.x1f", "by": "ada", "note": "why"}]


def test_a_runner_that_does_not_answer_is_silent_and_its_jobs_can_not_be_cancelled(store_path: Path) -> None:
    store_path.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(store_path / "control.sock"))
        listener.listen(64)
        assert nodes.running() == [{"node": "", "kind": "runner", "pid": os.getpid(), "silent": True}]
        with pytest.raises(
            StoreUnavailable, match=rf"the runner \(pid {os.getpid()}\) of store default does not answer"
        ):
            nodes.cancel("default.x1")


def test_a_job_is_cancelled_by_its_runner_and_not_by_the_worker_that_shows_it_too(home: Path) -> None:
    """What the runner does not have any more is over, whatever a worker says."""

    class Job(Process):
        id = "default.x1"

    job = Job("as a worker shows it")
    enter(job)
    try:
        assert [row["id"] for node in nodes.running() for row in node["processes"]] == ["default.x1"]
        assert nodes.cancel("default.x1") == "unknown"
        assert job.stop is None
    finally:
        leave(job)


def test_without_a_store_there_are_no_nodes(store_path: Path) -> None:
    assert nodes.running() == []
    assert nodes.cancel("0000aaaa.1") == "unknown"
    assert nodes.cancel("default.x1") == "unknown"
    assert not store_path.exists()


def test_a_store_that_can_not_be_looked_at_says_why(tmp_path: Path, settings: Any) -> None:
    (tmp_path / "file").touch()
    settings.GRACEFUL = {"STORES": {"default": {"BACKEND": "leveldb", "PATH": tmp_path / "file"}}}
    with pytest.raises(StoreUnavailable, match="can not see the nodes: Not a directory"):
        nodes.running()


def test_ids_can_not_name_a_file_elsewhere(home: Path) -> None:
    frozen(home.parent, "outside").close()
    assert nodes.cancel("../outside.1") == "unknown"
    assert (home.parent / "outside.sock").exists()


def test_a_store_has_one_exchange(store_path: Path) -> None:
    assert get_store().exchange() is get_store().exchange()
    assert get_conf().stores["default"].path == store_path
