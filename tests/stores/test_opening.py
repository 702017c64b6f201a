"""Opening LevelDB: whatever has happened to the files, it ends in a working store, and nothing is deleted (P1, P10)."""

from __future__ import annotations

import logging
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from django_graceful.exceptions import StoreCorrupt, StoreLocked, StoreUnavailable
from django_graceful.items import encode_record, new_id
from django_graceful.stores.engine import keys, version
from django_graceful.stores.engine.owner import Engine
from django_graceful.stores.leveldb import binding, opening
from django_graceful.stores.leveldb.opening import open_kv

plyvel = binding.binding()

ITEMS = 3000


def fill(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store with items in several tables and some in the log."""
    monkeypatch.setitem(opening._OPTIONS, "write_buffer_size", 64 << 10)
    kv, notices = open_kv(path)
    assert notices == []
    engine = Engine(kv)
    for _ in range(ITEMS // 100):
        engine.push("q", [encode_record(new_id(), os.urandom(60).hex().encode(), pushed_at=1) for _ in range(100)])
    engine.lease("q", 5, "w")
    engine.close()
    kv, _ = open_kv(path)
    engine = Engine(kv)
    engine.push("q", [encode_record(new_id(), b"1", pushed_at=1) for _ in range(10)])
    engine.close()


def first(path: Path, pattern: str) -> Path:
    return min((path / "db").glob(pattern), key=lambda found: found.name)


def remove(file: Path) -> None:
    file.unlink()


def empty(file: Path) -> None:
    file.write_bytes(b"")


def halve(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    chance = random.Random(file.stat().st_size)
    for _ in range(8):
        data[chance.randrange(len(data))] ^= 0x5A
    file.write_bytes(data)


def items_in(file: Path, scratch: Path) -> int:
    """How many items a file of the database holds. Where LevelDB puts which is a matter of its timing."""
    if file.suffix != ".ldb":
        return 0
    scratch.mkdir()
    shutil.copy(file, scratch)
    plyvel.repair_db(str(scratch))
    db = plyvel.DB(str(scratch))
    with db.iterator(start=keys.READY, stop=keys.beyond(keys.READY), include_value=False) as found:
        count = len(list(found))
    db.close()
    return count


def works(path: Path) -> tuple[int, list[str]]:
    """Opens the store twice, pushes and drains; how many items were there, and the notices of the first opening."""
    kv, notices = open_kv(path)
    engine = Engine(kv)
    assert engine.check() == []
    engine.push("q", [encode_record(new_id(), b'"new"', pushed_at=1)])
    found = engine.counts()["q"].waiting
    drained = 0
    while leases := engine.lease("q", 1000, "w"):
        drained += len(leases)
        engine.finish([lease.execution for lease in leases])
    assert drained == found
    assert engine.check() == []
    engine.close()
    kv, again = open_kv(path)
    assert again == []
    Engine(kv).close()
    return found - 1, notices


@pytest.mark.parametrize("damage", [remove, empty, halve, flip])
@pytest.mark.parametrize("pattern", ["*.ldb", "MANIFEST-*", "CURRENT"])
def test_damaged_and_missing_files_end_in_a_working_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, damage: Callable[[Path], None]
) -> None:
    fill(tmp_path, monkeypatch)
    file = first(tmp_path, pattern)
    at_stake = items_in(file, tmp_path / "copy")
    damage(file)
    found, notices = works(tmp_path)
    assert notices
    assert "has been repaired" in notices[0]
    assert ITEMS + 10 - at_stake <= found <= ITEMS + 10


@pytest.mark.parametrize("damage", [remove, empty, halve, flip])
def test_a_damaged_log_costs_at_most_its_own_items(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None]
) -> None:
    fill(tmp_path, monkeypatch)
    damage(first(tmp_path, "*.log"))
    found, _ = works(tmp_path)
    assert ITEMS <= found <= ITEMS + 10


def test_every_table_lost_still_ends_in_a_working_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, monkeypatch)
    for file in (tmp_path / "db").glob("*.ldb"):
        flip(file)
    works(tmp_path)


def test_a_database_that_lost_its_meta_reuses_no_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, monkeypatch)
    kv, _ = open_kv(tmp_path)
    kv.write({key: None for key, _ in list(kv.scan(keys.META, keys.beyond(keys.META)))})
    kv.close()
    first(tmp_path, "CURRENT").unlink()
    found, notices = works(tmp_path)
    assert found == ITEMS + 10
    assert any("would be used again" in notice for notice in notices)


def test_what_can_not_be_repaired_is_set_aside_loudly_and_the_store_starts_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path, monkeypatch)
    first(tmp_path, "CURRENT").unlink()
    before = sorted(file.name for file in (tmp_path / "db").glob("*.ldb"))

    def repair_db(*args: Any, **options: Any) -> None:
        raise plyvel.CorruptionError(b"Corruption: beyond repair")

    monkeypatch.setattr(plyvel, "repair_db", repair_db)
    found, notices = works(tmp_path)
    assert found == 0
    (kept,) = (tmp_path / "aside").iterdir()
    assert kept.name.startswith("db-20")
    assert sorted(file.name for file in kept.glob("*.ldb")) == before
    assert str(kept) in notices[0]
    assert [record.levelno for record in caplog.records if str(kept) in record.getMessage()] == [logging.CRITICAL]


def test_two_stores_set_aside_at_the_same_second_are_both_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plyvel, "repair_db", lambda *args, **options: None)
    for _ in range(3):
        open_kv(tmp_path)[0].close()
        first(tmp_path, "CURRENT").unlink()
    open_kv(tmp_path)[0].close()
    assert len(list((tmp_path / "aside").iterdir())) == 3


def test_an_interrupted_creation_is_no_reason_to_stop(tmp_path: Path) -> None:
    open_kv(tmp_path)[0].close()
    first(tmp_path, "CURRENT").unlink()
    for file in (tmp_path / "db").glob("*.log"):
        file.unlink()
    assert works(tmp_path)[0] == 0


def test_random_bytes_in_every_file_still_end_in_a_working_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, monkeypatch)
    for file in list((tmp_path / "db").iterdir()):
        if file.is_file():
            file.write_bytes(os.urandom(max(100, file.stat().st_size)))
    works(tmp_path)


def test_a_store_of_a_later_release_is_refused_and_left_alone(tmp_path: Path) -> None:
    kv, _ = open_kv(tmp_path)
    Engine(kv).push("q", [encode_record(new_id(), b"1", pushed_at=1)])
    kv.write(version.mark(99))
    kv.close()
    for _ in range(2):
        with pytest.raises(StoreCorrupt, match="format 99, this release of django_graceful knows up to 1"):
            open_kv(tmp_path)
    db = plyvel.DB(str(tmp_path / "db"))
    assert len(list(db.iterator(prefix=keys.READY))) == 1
    db.close()


def test_a_database_that_is_open_in_this_process_is_locked(tmp_path: Path) -> None:
    kv, _ = open_kv(tmp_path)
    with pytest.raises(StoreLocked):
        open_kv(tmp_path)
    kv.write({b"still": b"works"})
    kv.close()


@pytest.mark.process
def test_a_database_that_another_process_has_open_is_locked_and_not_repaired(tmp_path: Path) -> None:
    open_kv(tmp_path)[0].close()
    module, path = plyvel.__name__, str(tmp_path / "db")
    program = f"import {module}; db = {module}.DB({path!r}); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(StoreLocked, match=str(tmp_path)):
            open_kv(tmp_path)
        other.communicate("\n", timeout=30)
    assert not (tmp_path / "db" / "lost").exists()
    assert works(tmp_path)[0] == 0


@pytest.mark.process
def test_a_killed_owner_leaves_a_store_that_opens_without_a_word(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys, pathlib\n"
        "from django_graceful.items import encode_record, new_id\n"
        "from django_graceful.stores.engine.owner import Engine\n"
        "from django_graceful.stores.leveldb.opening import open_kv\n"
        f"engine = Engine(open_kv(pathlib.Path({str(tmp_path)!r}))[0])\n"
        "for number in range(500):\n"
        "    engine.push('q', [encode_record(new_id(), b'%d' % number, pushed_at=1)])\n"
        "engine.lease('q', 7, 'w')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == -9
    found, notices = works(tmp_path)
    assert (found, notices) == (500, [])


def test_a_full_disk_is_no_reason_to_repair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_kv(tmp_path)[0].close()

    def refuse(*args: Any, **options: Any) -> None:
        raise plyvel.IOError(b"IO error: MANIFEST-000007: No space left on device")

    monkeypatch.setattr(plyvel, "DB", refuse)
    with pytest.raises(StoreUnavailable, match="no room"):
        open_kv(tmp_path)
    assert not (tmp_path / "aside").exists()


def test_a_missing_binding_names_the_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    binding.binding.cache_clear()
    monkeypatch.setitem(sys.modules, "plyvel", None)
    monkeypatch.setitem(sys.modules, "plyvel_next", None)
    with pytest.raises(StoreUnavailable, match="pip install plyvel"):
        binding.binding()


def test_the_other_binding_serves_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    binding.binding.cache_clear()
    real = plyvel
    monkeypatch.setitem(sys.modules, "plyvel", None)
    monkeypatch.setitem(sys.modules, "plyvel_next", real)
    assert binding.binding() is real
    binding.binding.cache_clear()
