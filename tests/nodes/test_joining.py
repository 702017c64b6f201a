"""Making this OS process visible: when it is, what that costs, and what a fork has of it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from django_graceful import nodes, process
from django_graceful.conf import get_conf
from django_graceful.nodes import joining, node_name
from django_graceful.stores import get_store
from tests.harness import until
from tests.nodes.conftest import descriptors, in_a_fork, threads

IMPORTING = """
import os, django
django.setup()
import django_graceful.nodes, django_graceful.middleware, django_graceful.management
from django_graceful.nodes.joining import _kinds
from django_graceful import Process
Process("made, and not entered")
print(len(os.listdir("/proc/self/task")), _kinds, os.path.exists(os.environ["GRACEFUL_TEST_STORE"]))
"""


def sockets(store: Path) -> list[str]:
    return sorted(os.listdir(store / "nodes"))


def test_nothing_is_started_or_made_by_an_import(tmp_path: Path) -> None:
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "GRACEFUL_TEST_STORE": str(tmp_path / "store")}
    command = [sys.executable, "-c", IMPORTING]
    assert subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout == "1 {} False\n"


def test_joining_starts_one_thread_and_makes_one_socket_for_all_who_ask_again(store_path: Path) -> None:
    before = threads()
    nodes.join("web")
    nodes.join()
    nodes.join("web")
    assert threads() == before + 1
    assert sockets(store_path) == [f"{node_name()}.sock"]
    assert (store_path / "nodes" / f"{node_name()}.sock").stat().st_mode & 0o777 == 0o600
    nodes.leave()
    assert sockets(store_path) == []
    until(lambda: threads() == before, "the system to have forgotten the thread")


class Door:
    """A lock that lets nobody in before all have come to it."""

    def __init__(self, threads: int) -> None:
        self._barrier = threading.Barrier(threads)
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._barrier.wait(10)
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def test_of_threads_that_join_at_once_one_does_it(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = threads()
    with monkeypatch.context() as patch:
        patch.setattr(joining, "_lock", Door(4))
        found = [threading.Thread(target=nodes.join) for _ in range(4)]
        for thread in found:
            thread.start()
        for thread in found:
            thread.join(10)
    assert len(joining._joined) == 1
    until(lambda: threads() == before + 1, "no thread but one")


def test_a_signal_handler_may_open_a_process_while_its_thread_joins(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> Any:
        with process("in the handler") as inner:
            assert inner.parent is None
        return conf()

    conf = get_conf
    monkeypatch.setattr(joining, "get_conf", interrupted)
    nodes.join()
    assert len(joining._joined) == 1


def test_leaving_twice_or_without_having_joined_is_nothing(store_path: Path) -> None:
    nodes.leave()
    nodes.join()
    nodes.leave()
    nodes.leave()
    assert nodes.running() == []


def test_a_process_makes_its_os_process_visible(store_path: Path) -> None:
    with process("work") as work:
        (node,) = nodes.running()
        assert (node["node"], node["kind"], node["pid"]) == (node_name(), "command", os.getpid())
        assert [row["id"] for row in node["processes"]] == [work.id]


def test_the_first_word_about_the_kind_counts_and_none_is_no_word(store_path: Path) -> None:
    nodes.join()
    nodes.join("web")
    nodes.join("worker")
    assert [node["kind"] for node in nodes.running()] == ["web"]


def test_a_node_of_several_stores_has_one_thread_and_is_found_in_each(tmp_path: Path, settings: Any) -> None:
    stores = {name: {"BACKEND": "leveldb", "PATH": tmp_path / name} for name in ("default", "other")}
    settings.GRACEFUL = {"STORES": stores | {"here": {"BACKEND": "memory"}}}
    before = threads()
    with process("work") as work:
        assert threads() == before + 1
        for alias in (None, "default", "other", "here"):
            assert [row["id"] for node in nodes.running(alias) for row in node["processes"]] == [work.id]
        assert nodes.cancel(work.id, by="ada") == "asked"
        assert work.stop is not None


def test_a_memory_store_needs_no_thread(settings: Any) -> None:
    settings.GRACEFUL = {"STORES": {"default": {"BACKEND": "memory"}}}
    before = threads()
    with process("work") as work:
        assert threads() == before
        assert [row["id"] for node in nodes.running() for row in node["processes"]] == [work.id]
        assert nodes.cancel(work.id) == "asked"
        assert nodes.cancel(f"{node_name()}.0") == "unknown"
        assert nodes.cancel("00000000.1") == "unknown"
    nodes.leave()
    assert nodes.running() == []


def test_a_process_that_can_not_be_made_visible_says_so_once_and_works_on(
    tmp_path: Path, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    settings.GRACEFUL = {"STORES": {"default": {"BACKEND": "leveldb", "PATH": tmp_path / "file" / "store"}}}
    before = descriptors(), threads()
    with caplog.at_level(logging.WARNING), process("work"), process("more"):
        nodes.join("web")
    assert caplog.text.count("is not listed") == 1
    assert descriptors() <= before[0]
    assert threads() == before[1]


def test_wrong_settings_do_not_hurt_who_only_works(settings: Any) -> None:
    settings.GRACEFUL = {"STORES": 3}
    with process("work") as work:
        work.progress(1, 2)


def test_without_a_thread_to_be_had_nothing_is_left_open(
    store_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*arguments: Any) -> None:
        raise RuntimeError("can't start new thread")

    nodes.running()
    before = descriptors()
    monkeypatch.setattr("_thread.start_new_thread", fail)
    with caplog.at_level(logging.WARNING):
        nodes.join()
    assert "can't start new thread" in caplog.text
    assert descriptors() <= before
    assert sockets(store_path) == []


def test_a_fork_is_no_node_until_it_joins_and_takes_nothing_from_its_parent(store_path: Path) -> None:
    def check() -> object:
        before = threads(), len(joining._joined)
        with process("in the child"):
            return before, len(sockets(store_path)), len(nodes.running())

    with process("in the parent") as work:
        before = descriptors()
        assert in_a_fork(check) == "((1, 0), 2, 2)"
        assert descriptors() <= before
        (node,) = nodes.running()
        assert [row["id"] for row in node["processes"]] == [work.id]
        assert sockets(store_path) == [f"{node_name()}.sock"]


def test_a_fork_that_leaves_or_ends_does_not_remove_its_parents_socket(store_path: Path) -> None:
    nodes.join("web")
    exchange = get_store().exchange()

    def check() -> object:
        exchange.leave()
        nodes.leave()
        return sockets(store_path)

    assert in_a_fork(check) == f"['{node_name()}.sock']"
    assert len(nodes.running()) == 1


def test_a_fork_holds_none_of_its_parents_sockets(store_path: Path) -> None:
    """Else a dead parent would seem to live on in it, and not to answer."""
    nodes.join("web")
    path = store_path / "nodes" / f"{node_name()}.sock"
    os.link(path, path.with_name("left.sock"))  # as a SIGKILL leaves it

    ready, end = os.pipe(), os.pipe()
    pid = os.fork()
    if not pid:
        os.write(ready[1], b"!")
        os.read(end[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    nodes.leave()
    try:
        assert nodes.running() == []
        assert sockets(store_path) == []
    finally:
        os.write(end[1], b"!")
        os.waitpid(pid, 0)
        for fd in (*ready, *end):
            os.close(fd)


def test_two_hundred_times_joining_and_leaving_leaks_nothing(store_path: Path) -> None:
    nodes.join()
    nodes.leave()
    before = descriptors(), threads()
    for _ in range(200):
        nodes.join()
        nodes.leave()
    assert descriptors() <= before[0]
    until(lambda: threads() == before[1], "the system to have forgotten the threads")
    assert sockets(store_path) == []


def test_other_settings_are_another_site(tmp_path: Path, store_path: Path, settings: Any) -> None:
    nodes.join()
    settings.GRACEFUL = {"STORES": {"default": {"BACKEND": "leveldb", "PATH": tmp_path / "elsewhere"}}}
    assert sockets(store_path) == []
    nodes.join()
    assert len(sockets(tmp_path / "elsewhere")) == 1
