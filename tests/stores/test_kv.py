"""The maps under the engine: ordered, atomic, and whole while they are read."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from django_graceful.exceptions import StoreCorrupt, StoreFull, StoreUnavailable
from django_graceful.stores.engine import keys
from django_graceful.stores.engine.kv import KV, MemoryKV
from django_graceful.stores.leveldb.binding import binding
from django_graceful.stores.leveldb.kv import LevelKV, translate
from django_graceful.stores.leveldb.opening import open_kv

plyvel = binding()


@pytest.fixture(params=["memory", "leveldb"])
def kv(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KV]:
    found: KV = MemoryKV() if request.param == "memory" else open_kv(tmp_path)[0]
    yield found
    found.close()
    found.close()


def test_a_value_is_what_was_written_last(kv: KV) -> None:
    kv.write({b"a": b"1", b"b": b""})
    kv.write({b"a": b"2"}, sync=True)
    assert (kv.get(b"a"), kv.get(b"b"), kv.get(b"c")) == (b"2", b"", None)
    kv.write({b"a": None, b"c": None})
    assert kv.get(b"a") is None


def test_a_scan_is_in_order_from_start_to_before_stop(kv: KV) -> None:
    kv.write({bytes((first, second)): b"" for first in (3, 1, 2) for second in (9, 0, 5)})
    assert [key for key, _ in kv.scan(b"\x01\x05", b"\x03\x05")] == [
        b"\x01\x05",
        b"\x01\x09",
        b"\x02\x00",
        b"\x02\x05",
        b"\x02\x09",
        b"\x03\x00",
    ]
    assert list(kv.scan(b"\x05", b"\x06")) == []
    assert list(kv.scan(b"\x02", b"\x01")) == []


def test_a_scan_goes_on_over_writes(kv: KV) -> None:
    kv.write({b"k%03d" % number: b"" for number in range(300)})
    seen = []
    for key, _ in kv.scan(b"k", b"l"):
        seen.append(key)
        kv.write({key: None, b"a" + key: b"", b"z" + key: b""})
    assert seen == [b"k%03d" % number for number in range(300)]
    assert list(kv.scan(b"k", b"l")) == []


def test_both_maps_agree_after_many_random_writes(tmp_path: Path) -> None:
    memory, level = MemoryKV(), open_kv(tmp_path)[0]
    chance = random.Random(7)
    for _ in range(400):
        changes = {
            bytes((chance.randrange(3), chance.randrange(40))): chance.choice((None, b"1", b"2")) for _ in range(20)
        }
        memory.write(changes)
        level.write(changes)
        start, stop = sorted(bytes((chance.randrange(4), chance.randrange(40))) for _ in range(2))
        assert list(memory.scan(start, stop)) == list(level.scan(start, stop))
    level.close()


def test_keys_sort_as_the_work_is_done() -> None:
    order = [
        keys.ready(1, 100, 9),
        keys.ready(1, 0, 1),
        keys.ready(1, 0, 2),
        keys.ready(1, -100, 0),
        keys.ready(2, 100, 0),
    ]
    assert order == sorted(order)
    assert keys.ready(1, -(1 << 15), 0) < keys.beyond(keys.numbered(keys.READY, 1)) < keys.ready(2, (1 << 15) - 1, 0)
    assert keys.beyond(b"\x01\xff\xff") == b"\x02\x00\x00"
    key = keys.timed(keys.DEAD, 7, 123, 456)
    assert (keys.queue_of(key), keys.time_of(key), keys.sequence_of(key)) == (7, 123, 456)
    assert len({len(keys.ready(1, 0, 0)), keys.READY_SIZE}) == 1


class Failing:
    """A database whose writes fail, once."""

    def __init__(self, error: Exception) -> None:
        self.errors = [error]

    def write_batch(self, **options: Any) -> Any:
        if self.errors:
            raise self.errors.pop()
        raise AssertionError("nothing may be written after a write that failed")

    def get(self, key: bytes, **options: Any) -> Any:
        raise plyvel.CorruptionError(b"Corruption: block checksum mismatch")

    def close(self) -> None: ...


def never() -> Any:
    raise AssertionError("it may not be opened again")


def test_after_a_write_that_failed_nothing_is_written_until_the_store_is_opened_again() -> None:
    kv = LevelKV(Failing(plyvel.IOError(b"IO error: 5.log: Input/output error")), plyvel, "/store/db", never)
    for text in ("/store/db can not be used", "until the store is opened again"):
        with pytest.raises(StoreUnavailable, match=text):
            kv.write({b"a": b"1"})


def test_when_the_disk_was_full_the_next_write_opens_the_database_again_as_soon_as_that_works(tmp_path: Path) -> None:
    full = plyvel.IOError(b"IO error: 5.log: No space left on device")
    attempts = [full]

    def reopen() -> Any:
        if attempts:
            raise attempts.pop()
        return plyvel.DB(str(tmp_path), create_if_missing=True)

    kv = LevelKV(Failing(full), plyvel, "/store/db", reopen)
    for _ in range(2):
        with pytest.raises(StoreFull, match="/store/db has no room"):
            kv.write({b"a": b"1"})
    kv.write({b"a": b"1"})
    assert kv.get(b"a") == b"1"
    kv.close()


def test_a_database_that_could_not_be_opened_again_is_an_error_of_ours(tmp_path: Path) -> None:
    db = plyvel.DB(str(tmp_path), create_if_missing=True)
    kv = LevelKV(db, plyvel, "/store/db", never)
    db.close()
    with pytest.raises(StoreUnavailable):
        kv.get(b"a")


def test_damage_that_is_met_later_is_named() -> None:
    with pytest.raises(StoreCorrupt, match="/store/db is damaged: Corruption: block checksum mismatch"):
        LevelKV(Failing(ValueError()), plyvel, "/store/db", never).get(b"a")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (plyvel.IOError(b"IO error: x: Permission denied"), StoreUnavailable),
        (plyvel.IOError(b"IO error: x: Disk quota exceeded"), StoreFull),
        (plyvel.CorruptionError(b"Corruption: \xff"), StoreCorrupt),
        (plyvel.Error(), StoreUnavailable),
        (plyvel.Error("text"), StoreUnavailable),
    ],
)
def test_errors_of_the_library_become_ours(error: Exception, expected: type[Exception]) -> None:
    assert type(translate(error, plyvel.CorruptionError, "here")) is expected
