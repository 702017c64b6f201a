"""Check finds what is wrong in a redis store, repair mends it, and what can not be read stops nothing (P7, P9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from django_graceful.items import HEADER, UNIQUE, Outcome, State
from tests.redis.kit import RedisKit, server
from tests.stores.kit import payload


class Store:
    """A store with an item in every state, and the keys of its queue."""

    def __init__(self, kit: RedisKit, client: Redis) -> None:
        self.kit = kit
        self.client: Any = client
        kit.fill()
        kit.push("busy", key="b", flags=UNIQUE, priority=9)
        kit.take()
        kit.push("passed over", key="b", flags=UNIQUE, priority=9)
        kit.lease(1)

    def key(self, name: str) -> bytes:
        return self.kit.store.line.key("q") + b":" + name.encode()

    def id(self, state: State) -> bytes:
        return bytes.fromhex(self.kit.owner.page("q", state).items[0].item.id)

    def member(self, table: str) -> bytes:
        found: bytes = self.client.zrange(self.key(table), 0, 0)[0]
        return found

    def payloads(self) -> list[object]:
        found = [at.item.payload_json for state in State for at in self.kit.owner.page("q", state).items]
        return sorted(map(str, found))


@pytest.fixture
def store(kit: RedisKit) -> Any:
    with server().client() as client:
        yield Store(kit, client)


def lose(table: str) -> Callable[[Store], object]:
    def change(store: Store) -> object:
        return store.client.delete(store.key(table))

    change.__name__ = f"lose_{table}"
    return change


def invent(table: str) -> Callable[[Store], object]:
    def change(store: Store) -> object:
        return store.client.zadd(store.key(table), {b"\x7f\xff" + bytes(8) + b"x" * 16: 5})

    change.__name__ = f"invent_{table}"
    return change


def twice(table: str) -> Callable[[Store], object]:
    def change(store: Store) -> object:
        return store.client.zadd(store.key(table), {store.member("ready"): 5})

    change.__name__ = f"twice_{table}"
    return change


def miscount(store: Store) -> None:
    store.client.hincrby(store.key("meta"), "done", 7)


def run_nothing(store: Store) -> None:
    store.client.hset(store.key("running"), b"x" * 16, b"y" * 18)


def run_what_waits(store: Store) -> None:
    member = store.member("ready")
    store.client.hset(store.key("running"), member[10:], b"12345678" + member[:10] + b"seat\0w")


def lease_nothing(store: Store) -> None:
    store.client.zadd(store.key("leases"), {b"x" * 16: 1})


def wish_nothing(store: Store) -> None:
    store.client.hset(store.key("wishes"), b"x" * 8, b"{}")


def take_a_key_for_nothing(store: Store) -> None:
    store.client.hset(store.key("unique"), "new", b"x" * 16)


def take_a_key_for_another(store: Store) -> None:
    store.client.hset(store.key("unique"), "new", store.id(State.WAITING))


def take_a_key_for_a_dead_one(store: Store) -> None:
    store.client.hset(store.key("unique"), "k", store.id(State.DEAD))


def take_the_key_of_what_runs(store: Store) -> None:
    found = [at for at in store.kit.owner.page("q", State.RUNNING).items if at.item.key == "b"]
    store.client.hset(store.key("unique"), "b", bytes.fromhex(found[0].item.id))


def block_a_key(store: Store) -> None:
    store.client.hset(store.key("busy"), "k", store.id(State.WAITING))


def pass_over_nothing(store: Store) -> None:
    store.client.hset(store.key("passed"), "k", b"x" * 26)


HARM = [
    *map(lose, ["ready", "parked", "scheduled", "retrying", "dead", "cancelled", "running", "leases"]),
    *map(lose, ["busy", "passed", "items"]),
    *map(invent, ["ready", "parked", "scheduled", "retrying", "dead", "cancelled"]),
    *map(twice, ["parked", "scheduled", "retrying", "dead", "cancelled"]),
    miscount,
    run_nothing,
    run_what_waits,
    lease_nothing,
    wish_nothing,
    take_a_key_for_nothing,
    take_a_key_for_another,
    take_a_key_for_a_dead_one,
    take_the_key_of_what_runs,
    block_a_key,
    pass_over_nothing,
]


def test_a_store_with_everything_in_it_is_sound(store: Store) -> None:
    assert store.kit.owner.check() == []
    assert store.kit.owner.repair() == []


@pytest.mark.parametrize("harm", HARM, ids=lambda harm: harm.__name__)
def test_what_is_wrong_is_found_and_mended_and_no_item_is_lost(store: Store, harm: Callable[[Store], object]) -> None:
    before = store.payloads()
    harm(store)
    broken = store.payloads()
    found = store.kit.owner.check()
    assert found
    assert all(problem.where.startswith("queue q: ") for problem in found)
    assert store.kit.owner.check() == found, "looking changes nothing"
    assert set(store.kit.owner.repair()) >= set(found)
    assert store.kit.owner.check() == []
    assert store.payloads() == (before if harm.__name__ != "lose_items" else []), broken


def test_a_queue_of_which_only_the_items_are_left_is_whole_again(store: Store) -> None:
    keys = store.client.keys(store.kit.store.line.key("q").replace(b"{", b"[{]") + b":*")
    store.client.delete(*[key for key in keys if not key.endswith((b":items", b":meta"))])
    store.kit.reopen().repair()
    assert store.kit.owner.check() == []
    store.kit.clock.now += 7200
    left = store.kit.drain()
    assert set(left) == {*range(8), "delayed", "queued", "finished", "busy", "passed over"}
    assert store.kit.counts().dead == 1


def spoil(kit: RedisKit, item_id: str, change: bytes = b"\x02") -> None:
    """Damage the record of an item where it is."""
    key, found = kit.store.line.key("q") + b":items", bytes.fromhex(item_id)
    with server().client() as client:
        value: Any = client.hget(key, found)
        client.hset(key, found, value[:10] + change + value[10 + len(change) :])


@pytest.mark.parametrize("delay", [0, 5])
def test_a_record_that_was_damaged_is_set_aside_and_stops_nothing(kit: RedisKit, delay: float) -> None:
    ids = kit.push(1, 2, 3, delay=delay)
    spoil(kit, ids[1])
    kit.clock.now += 5
    assert [payload(lease) for lease in kit.lease(5)] == [1, 3]
    (found,) = kit.owner.page("q", State.DEAD).items
    assert "record format 2" in found.detail["reason"]
    assert found.item.id == ids[1]
    assert kit.owner.check() == []


def test_a_damaged_record_is_shown_and_can_be_cancelled_and_replayed_after_a_fix(
    kit: RedisKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = kit.push("a", "b", delay=50)
    spoil(kit, first)
    found = kit.owner.page("q", State.SCHEDULED).items
    assert ("record format 2" in found[0].detail["reason"], found[1].item.payload) == (True, "b")
    assert kit.owner.request_cancel(first) == "unknown"
    assert kit.counts().dead == 1
    assert kit.owner.retry("q") == 0
    spoil(kit, second)
    assert kit.owner.cancel_all("q").cancelled == 0
    assert kit.counts().dead == 2
    monkeypatch.setattr("django_graceful.items.FORMAT", 2)
    assert kit.owner.retry("q") == 2
    kit.clock.now += 50
    assert len(kit.lease(5)) == 2


def test_a_record_without_its_end_and_a_key_that_lies_stop_nothing(kit: RedisKit) -> None:
    ids = kit.push("a", "b", key="k")
    spoil(kit, ids[0], b"\x01\x01" + b"\0" * 6 + b"\xff\xff")
    spoil(kit, ids[1], b"\x01\x01" + b"\0" * 6 + b"\xff\xff")
    kit.push("c")
    assert [payload(lease) for lease in kit.lease(5)] == ["c"]
    kit.lease(5)
    assert kit.counts().dead == 2
    assert kit.owner.check() == []


def test_an_item_that_vanished_is_passed_over(kit: RedisKit) -> None:
    ids = kit.push(1, 2, 3)
    with server().client() as client:
        client.execute_command("HDEL", kit.store.line.key("q") + b":items", bytes.fromhex(ids[1]))
    assert [payload(lease) for lease in kit.lease(5)] == [1, 3]


def test_a_key_whose_item_is_no_more_blocks_nobody(kit: RedisKit) -> None:
    (item_id,) = kit.push("a", key="k", flags=UNIQUE)
    with server().client() as client:
        client.execute_command("HDEL", kit.store.line.key("q") + b":items", bytes.fromhex(item_id))
    assert not kit.owner.has("q", "k")
    kit.push("b", key="k", flags=UNIQUE)
    assert [payload(lease) for lease in kit.lease(5)] == ["b"]


@pytest.mark.parametrize("value", [b"", b"short", b"\0" * 24, b"\0" * 24 + b"{nope", b"\0" * 24 + b"[]"])
def test_a_damaged_wish_is_still_a_wish_or_none(kit: RedisKit, value: bytes) -> None:
    (item_id,) = kit.push("x")
    lease = kit.take()
    kit.owner.request_cancel(item_id, "eve", "stop")
    with server().client() as client:
        execution = lease.execution.to_bytes(8)
        client.execute_command("HSET", kit.store.line.key("q") + b":wishes", execution, value)
    kit.prepare()
    assert [wish.by for wish in kit.owner.wishes()] in ([], [""])
    assert kit.owner.get(item_id) is not None
    kit.end(lease, Outcome.RETRY)
    found = kit.owner.get(item_id)
    assert found is not None
    assert found.state is State.CANCELLED


def test_large_records_come_in_stretches_and_keep_their_bytes(kit: RedisKit) -> None:
    big = bytes(range(256)) * 4000
    records = [kit.record(n)[: HEADER.size] + big for n in range(20)]
    kit.owner.push("q", records)
    found = []
    while leases := kit.lease(20):
        assert sum(len(lease.record) for lease in leases) < 140 << 20
        kit.end(leases[0], Outcome.INTERRUPTED) if not found else kit.done(leases[0])
        found += leases
        kit.owner.finish([lease.execution for lease in leases[1:]])
    assert {lease.record for lease in found} == set(records)
