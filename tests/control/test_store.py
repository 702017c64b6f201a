"""The LevelDB store as any process holds it: pushing needs nobody, and whoever asks finds the owner or becomes it."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from django_graceful.conf import StoreConf
from django_graceful.exceptions import QueueFull, StoreCorrupt, StoreLocked, StoreUnavailable
from django_graceful.items import State, id_of
from django_graceful.stores import get_store
from django_graceful.stores.leveldb import LevelDBStore, binding, owning
from django_graceful.stores.leveldb.control import NoRunner
from django_graceful.stores.leveldb.ownership import OwnerLock
from tests.control.records import record
from tests.control.serving import FakeAdmin, serving


@pytest.fixture
def store(store_path: Path) -> LevelDBStore:
    found = get_store()
    assert isinstance(found, LevelDBStore)
    return found


def waiting(store: LevelDBStore) -> int:
    with store.admin(alone=True) as desk:
        return desk.counts()["q"].waiting


def free(store: LevelDBStore) -> bool:
    lock = OwnerLock(store.conf.path)
    lock.acquire("tool", patience=0)
    lock.release()
    return True


def test_making_a_store_opens_and_creates_nothing(store: LevelDBStore, store_path: Path) -> None:
    assert store.alias == "default"
    assert not store_path.exists()


def test_a_push_needs_nobody_and_gives_the_ids_in_order(store: LevelDBStore) -> None:
    records = [record() for _ in range(5)]
    assert store.push("q", records) == [id_of(one) for one in records]
    with store.admin(alone=True) as desk:
        found = desk.page("q", State.WAITING).items
    assert [bytes.fromhex(one.item.id) for one in found] == [id_of(one) for one in records]


def test_a_full_queue_refuses_a_push_without_a_runner(store: LevelDBStore) -> None:
    store.push("q", [record(), record()], limit=2)
    with pytest.raises(QueueFull):
        store.push("q", [record()], limit=2)
    assert waiting(store) == 2


@pytest.mark.parametrize(("mode", "directory_mode"), [(0o600, 0o700), (0o660, 0o770)])
@pytest.mark.parametrize("first", ["push", "own"])
def test_the_first_use_makes_the_directory_for_the_user_or_the_group(
    tmp_path: Path, mode: int, directory_mode: int, first: str
) -> None:
    store = LevelDBStore(StoreConf("default", "leveldb", tmp_path / "a" / "b", mode=mode))
    before = os.umask(0o027)
    try:
        if first == "push":
            store.push("q", [record()])
            store.close()
        else:
            store.own().close()
    finally:
        os.umask(before)
    for path in (tmp_path / "a" / "b", tmp_path / "a" / "b" / "inbox"):
        assert path.stat().st_mode & 0o777 == directory_mode


def test_no_runner_is_said_to_whoever_only_asks(store: LevelDBStore, store_path: Path) -> None:
    with pytest.raises(NoRunner, match=r"no runner runs.*manage.py runqueues"), store.admin():
        pass
    assert not store_path.exists()


def test_a_running_runner_is_asked(store: LevelDBStore, store_path: Path) -> None:
    store_path.mkdir()
    admin = FakeAdmin()
    with serving(store_path, admin):
        for alone in (False, True):
            with store.admin(alone=alone) as desk:
                assert desk.counts() == admin.counts()
    assert not (store_path / "db").exists()


def test_a_tool_owns_the_store_only_as_long_as_it_asks(store: LevelDBStore) -> None:
    store.push("q", [record()])
    with store.admin(alone=True) as desk:
        with pytest.raises(StoreLocked, match=f"owned by the tool with pid {os.getpid()}"):
            OwnerLock(store.conf.path).acquire("tool", patience=0)
        assert desk.counts()["q"].waiting == 1
    assert free(store)


def test_a_tool_that_fails_lets_go(store: LevelDBStore) -> None:
    with pytest.raises(ZeroDivisionError), store.admin(alone=True):
        raise ZeroDivisionError
    assert free(store)


def test_an_owner_excludes_others_until_it_is_closed(store: LevelDBStore) -> None:
    owner = store.own()
    with pytest.raises(StoreLocked) as caught:
        store.own()
    assert caught.value.pid == os.getpid()
    owner.close()
    owner.close()
    store.own().close()


def test_an_owner_that_is_closed_leaves_no_file_open(store: LevelDBStore) -> None:
    store.own().close()
    before = os.listdir("/proc/self/fd")
    store.own().close()
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_a_tool_sees_what_became_due_while_nobody_owned_the_store(store: LevelDBStore) -> None:
    due = time.time_ns() // 1000 + 1_500_000
    store.push("q", [record(not_before=due)])
    with store.admin(alone=True) as desk:
        assert desk.counts()["q"].scheduled == 1
    while time.time_ns() // 1000 <= due:
        time.sleep(0.01)
    assert waiting(store) == 1


def test_what_was_pushed_and_done_is_there_after_reopening(store: LevelDBStore) -> None:
    store.push("q", [record() for _ in range(3)])
    owner = store.own()
    owner.prepare()
    first, *_ = owner.lease("q", 2, "w")
    assert owner.finish([first.execution]) == set()
    owner.close()
    owner = store.own(lambda name: None)
    assert owner.counts()["q"].waiting == 2
    owner.close()


def test_a_tool_takes_in_what_was_pushed_before_and_while_it_has_the_store(store: LevelDBStore) -> None:
    store.push("q", [record() for _ in range(5000)])
    with store.admin(alone=True) as desk:
        assert desk.counts()["q"].waiting == 5000
        store.push("q", [record()])
        assert desk.counts()["q"].waiting == 5001


def test_the_backlog_is_what_no_owner_has_taken_in(store: LevelDBStore) -> None:
    assert store.backlog() == 0
    store.push("q", [record(b"1" * 1000)])
    assert 1000 < store.backlog() < 1400
    with store.admin(alone=True):
        assert store.backlog() == 0
    assert store.backlog() == 0


def test_pushing_goes_on_after_close_and_from_many_threads(store: LevelDBStore) -> None:
    def push() -> None:
        for _ in range(50):
            store.push("q", [record()])

    threads = [threading.Thread(target=push) for _ in range(4)]
    for thread in threads:
        thread.start()
    store.close()
    for thread in threads:
        thread.join()
    assert waiting(store) == 200


@pytest.mark.process
def test_a_forked_child_pushes_with_a_handle_of_its_own(store: LevelDBStore) -> None:
    store.push("q", [record()])
    child = os.fork()
    if child == 0:
        try:
            get_store().push("q", [record()])
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    store.push("q", [record()])
    assert waiting(store) == 3


def refuse(error: Exception) -> Callable[..., Any]:
    def raising(*args: Any, **kwargs: Any) -> Any:
        raise error

    return raising


@pytest.mark.parametrize("part", ["Board", "Intake", "WakeReceiver", "open_kv", "LevelDBOwner"])
@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (PermissionError(13, "Permission denied"), StoreUnavailable),
        (StoreCorrupt("damaged"), StoreCorrupt),
        (TimeoutError("a worker does not end"), StoreUnavailable),
    ],
)
def test_an_opening_that_fails_half_way_leaves_nothing_open_or_locked(
    store: LevelDBStore, monkeypatch: pytest.MonkeyPatch, part: str, error: Exception, seen: type[Exception]
) -> None:
    store.own().close()
    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(owning, part, type("Broken", (), {"create": refuse(error), "__new__": refuse(error)}))
    if part == "open_kv":
        monkeypatch.setattr(owning, part, refuse(error))
    with pytest.raises(seen):
        store.own()
    monkeypatch.undo()
    assert len(os.listdir("/proc/self/fd")) == len(before)
    assert free(store)
    store.own().close()


def test_a_witness_that_fails_leaves_nothing_open_or_locked(store: LevelDBStore) -> None:
    store.push("q", [record()])
    owner = store.own()
    owner.prepare()
    owner.lease("q", 1, "w")
    owner.close()
    with pytest.raises(StoreUnavailable, match="can not open the store: a worker does not end"):
        store.own(refuse(TimeoutError("a worker does not end")))
    assert waiting(store) == 1


def test_a_missing_binding_is_said_with_what_to_install(store: LevelDBStore, monkeypatch: pytest.MonkeyPatch) -> None:
    binding.binding.cache_clear()
    for name in ("plyvel", "plyvel_next"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(StoreUnavailable, match="pip install plyvel"):
        store.own()
    monkeypatch.undo()
    assert store.push("q", [record()]), "pushing needs no LevelDB"
    assert free(store)


def test_a_path_that_can_not_be_used_is_said_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = LevelDBStore(StoreConf("default", "leveldb", tmp_path / "file" / "store"))
    for use in (lambda: store.push("q", [record()]), store.own):
        with pytest.raises(StoreUnavailable, match=f"{tmp_path}/file/store"):
            use()
    with pytest.raises(StoreUnavailable), store.admin(alone=True):
        pass


@pytest.mark.process
def test_a_directory_of_another_user_is_said_with_what_to_do(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == os.geteuid() and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o055)
    store = LevelDBStore(StoreConf("default", "leveldb", home / "store"))
    store.own().close()
    said = as_nobody(store.own)
    assert "StoreUnavailable" in said
    assert "common group" in said
    assert '"MODE": 0o660' in said


def as_nobody(do: Callable[[], Any]) -> str:
    """What happens when another user does that, in a process of his own."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            do()
        except BaseException as error:
            os.write(write, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as said:
        text = said.read()
    os.waitpid(child, 0)
    return text
