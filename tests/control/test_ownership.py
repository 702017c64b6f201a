"""One owner at a time, named to everybody else; a dead one is no obstacle."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from django_graceful.exceptions import StoreLocked, StoreUnavailable
from django_graceful.stores.leveldb import ownership
from django_graceful.stores.leveldb.ownership import OwnerLock, read_holder

HOLD = """
import sys
from pathlib import Path
from django_graceful.stores.leveldb.ownership import OwnerLock
lock = OwnerLock(Path(sys.argv[1]))
lock.acquire(sys.argv[2])
print("held", flush=True)
sys.stdin.readline()
lock.release()
print("released", flush=True)
sys.stdin.readline()
"""


@contextmanager
def other_process(directory: Path, role: str) -> Iterator[subprocess.Popen[str]]:
    """An OS process that holds the lock; a line on its stdin makes it release, another one exit."""
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": ""}
    args = [sys.executable, "-c", HOLD, str(directory), role]
    with subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[OwnerLock]:
    found = OwnerLock(tmp_path)
    yield found
    found.release()


@pytest.mark.process
def test_a_second_owner_is_told_who_the_first_is_at_once(tmp_path: Path, lock: OwnerLock) -> None:
    with other_process(tmp_path, "runner") as process:
        began = time.monotonic()
        with pytest.raises(StoreLocked) as caught:
            lock.acquire("tool", patience=60)
        assert time.monotonic() - began < 10
        assert caught.value.pid == process.pid
        text = str(caught.value)
        assert text.startswith(f"the store at {tmp_path} is owned by the runner with pid {process.pid} since 2")
        assert "host" not in text


@pytest.mark.process
def test_a_killed_owner_leaves_nothing_that_needs_a_person(tmp_path: Path, lock: OwnerLock) -> None:
    with other_process(tmp_path, "runner") as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert json.loads((tmp_path / "owner.lock").read_bytes())["pid"] == process.pid
        lock.acquire("runner", patience=0)
        holder = read_holder(lock.path)
        assert holder is not None
        assert (holder.pid, holder.role, holder.host) == (os.getpid(), "runner", socket.gethostname())


@pytest.mark.process
def test_a_tool_is_waited_for(tmp_path: Path, lock: OwnerLock, monkeypatch: pytest.MonkeyPatch) -> None:
    with other_process(tmp_path, "tool") as process:

        def release_then_poll(seconds: float) -> None:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "released\n"

        monkeypatch.setattr(ownership.time, "sleep", release_then_poll)
        lock.acquire("runner", patience=60)


def test_a_tool_that_takes_too_long_is_named(tmp_path: Path, lock: OwnerLock) -> None:
    lock.acquire("tool")
    with pytest.raises(StoreLocked, match=f"owned by the tool with pid {os.getpid()}"):
        OwnerLock(tmp_path).acquire("runner", patience=0.05)


def test_two_owners_in_one_process_exclude_each_other_too(tmp_path: Path, lock: OwnerLock) -> None:
    lock.acquire("runner")
    with pytest.raises(StoreLocked) as caught:
        OwnerLock(tmp_path).acquire("runner")
    assert caught.value.pid == os.getpid()


def test_a_released_lock_is_free_and_names_nobody(tmp_path: Path, lock: OwnerLock) -> None:
    for _ in range(2):
        lock.acquire("runner", patience=0)
        lock.release()
        lock.release()
        assert read_holder(lock.path) is None


def test_of_many_at_once_exactly_one_gets_it(tmp_path: Path) -> None:
    results: list[Any] = []
    barrier = threading.Barrier(8)

    def contend() -> None:
        lock = OwnerLock(tmp_path)
        barrier.wait()
        try:
            lock.acquire("runner", patience=5)
            results.append(lock)
        except StoreLocked as error:
            results.append(error)

    threads = [threading.Thread(target=contend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [result for result in results if isinstance(result, OwnerLock)]
    assert len(winners) == 1
    winners[0].release()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"pid": "x"}',
        b'{"pid": 99999999999999999999, "role": "runner", "since": "", "host": "%s"}' % socket.gethostname().encode(),
    ],
)
def test_a_holder_that_can_not_be_read_is_another_process(tmp_path: Path, lock: OwnerLock, content: bytes) -> None:
    lock.acquire("runner")
    lock.path.write_bytes(content)
    with pytest.raises(StoreLocked, match="owned by another process") as caught:
        OwnerLock(tmp_path).acquire("runner", patience=0.05)
    assert caught.value.pid is None


def test_a_dead_owners_name_on_a_lock_that_is_held_by_another_is_not_believed(tmp_path: Path, lock: OwnerLock) -> None:
    lock.acquire("tool")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    content = {"pid": dead.pid, "role": "runner", "since": "", "host": socket.gethostname()}
    lock.path.write_text(json.dumps(content))
    with pytest.raises(StoreLocked, match="owned by another process"):
        OwnerLock(tmp_path).acquire("runner", patience=0.05)


def test_an_owner_on_another_host_is_named_with_it(tmp_path: Path, lock: OwnerLock) -> None:
    lock.acquire("runner")
    content = {"pid": 7, "role": "runner", "since": "2026-01-01 10:00:00+00:00", "host": "far-away"}
    lock.path.write_text(json.dumps(content))
    with pytest.raises(StoreLocked, match="runner with pid 7 on host far-away since 2026-01-01 10:00:00"):
        OwnerLock(tmp_path).acquire("runner", patience=0)


@pytest.mark.process
def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path, lock: OwnerLock) -> None:
    lock.acquire("runner")
    go_read, go_write = os.pipe()
    ready_read, ready_write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(ready_write, b"x")
        os.read(go_read, 1)
        os._exit(0)
    try:
        os.read(ready_read, 1)
        with pytest.raises(StoreLocked):
            OwnerLock(tmp_path).acquire("runner", patience=0)
        os.close(lock._fd or 0)  # as if this process had been killed: no unlocking
        lock._fd = None
        second = OwnerLock(tmp_path)
        second.acquire("runner", patience=5)
        second.release()
    finally:
        os.write(go_write, b"x")
        os.waitpid(child, 0)
        for fd in (go_read, go_write, ready_read, ready_write):
            os.close(fd)


@pytest.mark.process
def test_a_program_started_by_the_owner_does_not_keep_the_lock(tmp_path: Path, lock: OwnerLock) -> None:
    lock.acquire("runner")
    args = [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"]
    with subprocess.Popen(args, stdout=subprocess.PIPE, close_fds=False) as program:
        assert program.stdout is not None
        program.stdout.readline()
        os.close(lock._fd or 0)
        lock._fd = None
        second = OwnerLock(tmp_path)
        second.acquire("runner", patience=0)
        second.release()
        program.kill()


@pytest.mark.parametrize("mode", [0o600, 0o660])
def test_the_lock_file_has_the_stores_permissions(tmp_path: Path, mode: int) -> None:
    before = os.umask(0o077)
    try:
        lock = OwnerLock(tmp_path, mode)
        lock.acquire("tool")
        assert lock.path.stat().st_mode & 0o777 == mode
        lock.release()
    finally:
        os.umask(before)


def test_a_directory_that_can_not_be_written_is_said_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=f"{tmp_path}/missing/owner.lock: can not own the store: No such"):
        OwnerLock(tmp_path / "missing").acquire("runner")


def test_a_file_system_that_can_not_lock_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(fd: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(ownership.fcntl, "flock", no_locks)
    with pytest.raises(StoreUnavailable, match=r"can not lock files: .*No locks available"):
        OwnerLock(tmp_path).acquire("runner")


def test_a_full_disk_does_not_keep_the_owner_out(
    tmp_path: Path, lock: OwnerLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ownership.os, "pwrite", full)
    lock.acquire("runner")
