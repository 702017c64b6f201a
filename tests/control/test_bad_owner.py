"""Whatever serves the control socket, or stops serving it, the client comes back with an error that says so."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from django_graceful.exceptions import StoreError, StoreUnavailable
from django_graceful.stores.leveldb.control import ControlClient, encode
from tests.control.serving import raw


@contextmanager
def impostor(directory: Path, behave: Callable[[socket.socket], None]) -> Iterator[ControlClient]:
    """A server of the test's own: ``behave`` gets the first connection."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(directory / "control.sock"))
        listener.listen(1)

        def serve() -> None:
            sock, _ = listener.accept()
            with sock:
                behave(sock)

        thread = threading.Thread(target=serve)
        thread.start()
        yield ControlClient(directory, timeout=5)
        thread.join(10)


def test_a_runner_that_dies_before_it_has_answered_is_said_to_have_gone(tmp_path: Path) -> None:
    with (
        impostor(tmp_path, lambda sock: sock.recv(100) and None) as client,
        pytest.raises(StoreUnavailable, match="went away before it had answered"),
    ):
        client.counts()


def test_a_runner_that_dies_in_the_middle_of_its_answer_is_said_to_have_gone(tmp_path: Path) -> None:
    def behave(sock: socket.socket) -> None:
        sock.recv(100)
        sock.sendall(encode({"result": {}})[:-3])

    with impostor(tmp_path, behave) as client, pytest.raises(StoreUnavailable, match="went away"):
        client.counts()


def test_a_runner_that_hangs_is_given_up_after_the_time_limit(tmp_path: Path) -> None:
    done = threading.Event()
    with impostor(tmp_path, lambda sock: done.wait(10) and None) as client:
        client.timeout = 0.1
        with pytest.raises(StoreUnavailable, match=r"did not answer within 0\.1 s"):
            client.counts()
        done.set()


def test_a_runner_whose_backlog_is_full_is_given_up_after_the_time_limit(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "control.sock"))
        listener.listen(0)
        with raw(tmp_path), pytest.raises(StoreUnavailable, match="did not answer"):
            ControlClient(tmp_path, timeout=0.1).counts()


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"null", b"7", b'{"error": "x"}', b"\xff", b"[" * 100_000])
def test_an_answer_that_makes_no_sense_is_a_store_error(tmp_path: Path, body: bytes) -> None:
    def behave(sock: socket.socket) -> None:
        sock.recv(1000)
        sock.sendall(struct.pack(">I", len(body)) + body)

    with impostor(tmp_path, behave) as client, pytest.raises(StoreError, match="no valid answer"):
        client.counts()


def test_a_result_of_another_type_is_a_store_error(tmp_path: Path) -> None:
    def behave(sock: socket.socket) -> None:
        sock.recv(1000)
        sock.sendall(encode({"result": ["mail"]}))

    with impostor(tmp_path, behave) as client, pytest.raises(StoreError, match="answered counts with something else"):
        client.counts()
