"""The contract of stores: what can not be read is set aside, and can be replayed after a fix (promise P9)."""

from __future__ import annotations

import pytest

from django_graceful.items import HEADER, UNIQUE, Outcome, State
from django_graceful.stores.base import CancelCount, CancelReply
from django_graceful.stores.engine import keys
from tests.stores.kit import EngineKit, Kit, payload

NEWER = b"\x02"


def newer(record: bytes) -> bytes:
    """The record as a later release might write it."""
    return NEWER + record[1:]


def broken_meta(record: bytes) -> bytes:
    fields = list(HEADER.unpack_from(record))
    fields[6] = 5
    return HEADER.pack(*fields) + b"{nope" + record[HEADER.size :]


def unreadable(kit: Kit) -> dict[str, bytes]:
    good = kit.record("x")
    return {
        "empty": b"",
        "short": good[:20],
        "newer": newer(good),
        "unknown flag": good[:1] + b"\x80" + good[2:],
        "cut": good[:8] + b"\xff\xff" + good[10:],
        "key": good[:8] + b"\x01\x00" + good[10 : HEADER.size] + b"\xff" + good[HEADER.size :],
        "meta": broken_meta(good),
        "zero": b"\0" * 100,
    }


KINDS = ["empty", "short", "newer", "unknown flag", "cut", "key", "meta", "zero"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_unreadable_push_is_set_aside_dead_with_the_reason_and_the_others_run(kit: Kit, kind: str) -> None:
    bad = unreadable(kit)[kind]
    first, second, third = kit.owner.push("q", [kit.record(1), bad, kit.record(3)])
    found = kit.owner.get(second.hex())
    assert found is not None
    assert (found.state, found.item.id, found.item.queue) == (State.DEAD, second.hex(), "q")
    assert found.detail["reason"]
    assert len({first, second, third}) == 3
    assert kit.drain() == [1, 3]
    assert (kit.counts().pushed, kit.counts().done, kit.counts().died, kit.counts().dead) == (3, 2, 1, 1)
    assert kit.owner.check() == []
    assert kit.reopen().get(second.hex()) == found


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_still_unreadable_stays_dead_when_it_is_retried(kit: Kit, kind: str) -> None:
    kit.owner.push("q", [unreadable(kit)[kind]])
    assert kit.owner.retry("q") == 0
    assert kit.counts().dead == 1
    assert kit.owner.discard("q", State.DEAD) == 1
    assert kit.owner.page("q", State.DEAD).items == []
    assert kit.owner.check() == []


def test_a_record_of_a_later_release_runs_when_that_release_retries_it(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = kit.record("from the future", key="k", flags=UNIQUE)
    (shown,) = kit.owner.push("q", [newer(good)])
    monkeypatch.setattr("django_graceful.items.FORMAT", 2)
    assert kit.owner.retry("q") == 1
    assert kit.owner.has("q", "k")
    assert kit.owner.get(shown.hex()) is None
    lease = kit.take()
    assert lease.record[HEADER.size - 16 : HEADER.size] == good[HEADER.size - 16 : HEADER.size]
    kit.done(lease)
    assert kit.owner.check() == []


def test_a_set_aside_record_waits_while_another_has_its_id(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    good = kit.record("good")
    marked = good[:1] + b"\x80" + good[2:]
    kit.owner.push("q", [marked, good])
    monkeypatch.setattr("django_graceful.items.KNOWN_FLAGS", 0x87)
    assert kit.owner.retry("q") == 0
    assert kit.drain() == ["good"]
    assert kit.owner.retry("q") == 1
    assert kit.drain() == ["good"]
    assert kit.owner.check() == []


@pytest.fixture
def engine(kit: Kit) -> EngineKit:
    assert isinstance(kit, EngineKit)
    return kit


def spoil(engine: EngineKit, item_id: str, change: bytes = NEWER) -> bytes:
    """Damage the record of an item where it is; its key."""
    key = engine.kv.get(keys.INDEX + bytes.fromhex(item_id)) or b""
    record = engine.kv.get(key) or b""
    engine.kv.write({key: change + record[1:]})
    return key


@pytest.mark.parametrize("delay", [0, 5])
def test_a_record_that_was_damaged_on_disk_is_set_aside_and_stops_nothing(engine: EngineKit, delay: float) -> None:
    ids = engine.push(1, 2, 3, delay=delay)
    spoil(engine, ids[1])
    engine.reopen()
    engine.clock.now += 5
    assert engine.drain() == [1, 3]
    assert engine.counts().dead == 1
    (found,) = engine.owner.page("q", State.DEAD).items
    assert "record format 2" in found.detail["reason"]
    engine.owner.repair()
    assert engine.owner.check() == []


def test_a_record_that_is_damaged_while_it_runs_is_set_aside_when_it_ends(engine: EngineKit) -> None:
    bad, _ = engine.push("bad", "good")
    first, second = engine.lease(2)
    spoil(engine, bad)
    engine.end(first, Outcome.RETRY, delay=1)
    engine.end(second, Outcome.RETRY, delay=1)
    assert (engine.counts().dead, engine.counts().retrying) == (1, 1)
    engine.clock.now += 1
    assert engine.drain() == ["good"]
    engine.owner.repair()
    assert engine.owner.check() == []


def test_a_record_that_vanished_while_it_ran_stops_nothing(engine: EngineKit) -> None:
    (item_id,) = engine.push("x")
    lease = engine.take()
    engine.kv.write({engine.kv.get(keys.INDEX + bytes.fromhex(item_id)) or b"": None})
    engine.end(lease, Outcome.INTERRUPTED)
    assert (engine.counts().dead, engine.counts().running) == (1, 0)
    assert engine.owner.check() == []


def test_damaged_records_are_shown_and_stop_no_page(engine: EngineKit) -> None:
    ids = engine.push(1, 2, delay=50)
    spoil(engine, ids[0])
    first, second = engine.owner.page("q", State.SCHEDULED).items
    assert "record format 2" in first.detail["reason"]
    assert second.item.payload == 2
    assert engine.owner.request_cancel(ids[0]) == "unknown"
    assert engine.counts().dead == 1


def test_a_key_whose_item_is_no_more_blocks_nobody(engine: EngineKit) -> None:
    (item_id,) = engine.push("a", key="k", flags=UNIQUE)
    where = keys.INDEX + bytes.fromhex(item_id)
    engine.kv.write({where: None, engine.kv.get(where) or b"": None})
    engine.reopen()
    assert not engine.owner.has("q", "k")
    engine.push("b", key="k", flags=UNIQUE)
    assert [payload(lease) for lease in engine.lease(5)] == ["b"]


def test_a_payload_that_is_no_json_is_the_workers_business(kit: Kit) -> None:
    record = kit.record("x")
    kit.owner.push("q", [record[: HEADER.size] + b"{nope"])
    assert kit.take().record.endswith(b"{nope")


@pytest.mark.parametrize("value", [b"", b"\xff", b"[]", b"{}", b'{"expires": "soon"}', b"17"])
def test_a_damaged_result_is_none(engine: EngineKit, value: bytes) -> None:
    engine.kv.write({keys.RESULT + bytes(16): value})
    assert engine.owner.result(bytes(16).hex()) is None
    engine.owner.repair()
    assert engine.owner.check() == []


@pytest.mark.parametrize(
    "value", [b"", b"\xff", b"\xff\xff", b"\x00\x01w", b"\x00\x02w1" + bytes(13), b"\x00\x02w1" + b"x" * 13]
)
def test_a_damaged_lease_brings_its_items_back(engine: EngineKit, value: bytes) -> None:
    engine.push(1, 2)
    lease = engine.take()
    engine.kv.write({keys.lease(lease.execution): value, keys.wish(lease.execution): b"nonsense"})
    engine.reopen()
    assert engine.drain() == [1, 2]
    assert engine.owner.check() == []


@pytest.mark.parametrize("delay", [0, 60])
def test_what_was_damaged_while_it_waited_is_dead_and_not_cancelled_and_the_rest_is(
    engine: EngineKit, delay: float
) -> None:
    first, second, bad = (engine.push(n, delay=delay)[0] for n in range(3))
    spoil(engine, bad)
    spoil(engine, second)
    assert engine.owner.request_cancel(second) is CancelReply.UNKNOWN
    assert engine.owner.cancel_all("q") == CancelCount(1)
    assert [found.item.id for found in engine.owner.page("q", State.CANCELLED).items] == [first]
    counts = engine.counts()
    assert (counts.dead, counts.cancelled, counts.waiting + counts.scheduled) == (2, 1, 0)
    engine.owner.repair()
    assert engine.owner.check() == []
