"""The memory store: one engine in this process, for several threads, and empty in a forked child."""

from __future__ import annotations

import os
import select
import threading
import warnings

import pytest

from django_graceful.conf import StoreConf
from django_graceful.exceptions import QueueFull, StoreLocked
from django_graceful.items import decode_item, encode_record, new_id
from django_graceful.stores.base import StoreOwner
from django_graceful.stores.memory import MemoryOwner, MemoryStore


def record(number: int = 0) -> bytes:
    return encode_record(new_id(), b"%d" % number, pushed_at=1)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(StoreConf("default", "memory"))


def test_what_was_pushed_before_there_is_an_owner_is_there_for_it(store: MemoryStore) -> None:
    ids = store.push("q", [record(1), record(2)])
    owner = store.own()
    assert [decode_item("q", lease.record).id for lease in owner.lease("q", 5, "w")] == [found.hex() for found in ids]


def test_a_full_queue_refuses(store: MemoryStore) -> None:
    store.push("q", [record()], 1)
    with pytest.raises(QueueFull):
        store.push("q", [record()], 1)


def test_the_desk_needs_no_owner_and_sees_the_owners_work(store: MemoryStore) -> None:
    store.push("q", [record()])
    with store.admin() as admin:
        assert admin.counts()["q"].waiting == 1
    store.own().lease("q", 1, "w")
    with store.admin(alone=True) as admin:
        assert admin.counts()["q"].running == 1


def test_there_is_one_owner_at_a_time(store: MemoryStore) -> None:
    owner = store.own()
    with pytest.raises(StoreLocked) as caught:
        store.own()
    assert caught.value.pid == os.getpid()
    owner.close()
    store.own().close()


def test_a_closed_owner_leaves_its_leases_to_the_next(store: MemoryStore) -> None:
    store.push("q", [record(1)])
    first = store.own()
    (lease,) = first.lease("q", 1, "w")
    first.close()
    second = store.own()
    assert second.finish([lease.execution]) == {lease.execution}
    assert len(second.lease("q", 1, "w")) == 1
    first.close()
    with pytest.raises(StoreLocked):
        store.own()


def readable(owner: StoreOwner) -> bool:
    sock = owner.wake_socket()
    assert sock is not None
    return bool(select.select([sock], [], [], 0)[0])


def test_a_push_wakes_a_sleeping_owner_and_no_other(store: MemoryStore) -> None:
    owner = store.own()
    owner.prepare()
    store.push("q", [record()])
    assert not readable(owner)
    assert not owner.about_to_sleep(), "something came since the last prepare"
    owner.prepare()
    assert owner.about_to_sleep()
    assert not readable(owner)
    for _ in range(3):
        store.push("q", [record()])
    assert readable(owner)
    owner.prepare()
    assert not readable(owner)


def test_every_method_of_the_contract_waits_for_the_lock(store: MemoryStore) -> None:
    store.own()
    for name in StoreOwner.__abstractmethods__:
        assert name in vars(MemoryOwner), name


def test_threads_push_while_another_leases_and_finishes(store: MemoryStore) -> None:
    owner = store.own()
    total, done = 4 * 500, []

    def produce() -> None:
        for number in range(500):
            store.push("q", [record(number)])

    def consume() -> None:
        while len(done) < total:
            owner.prepare()
            leases = owner.lease("q", 50, "w")
            done.extend(leases)
            assert owner.finish([lease.execution for lease in leases]) == set()

    threads = [threading.Thread(target=work, daemon=True) for work in (produce, produce, produce, produce, consume)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len({lease.execution for lease in done}) == total
    assert owner.counts()["q"].done == total
    assert owner.check() == []


@pytest.mark.process
def test_a_forked_child_starts_empty_and_can_push(store: MemoryStore) -> None:
    store.push("q", [record()])
    owner = store.own()
    with store.lock, warnings.catch_warnings():  # as if another thread held it
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
        if pid == 0:
            try:
                with store.admin() as admin:
                    empty = admin.counts() == {}
                store.push("q", [record()])
                free = len(store.own().lease("q", 5, "w")) == 1
                os._exit(0 if empty and free else 1)
            finally:
                os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert owner.counts()["q"].waiting == 1
    assert not readable(owner)
