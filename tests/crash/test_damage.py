"""Damaged files and full disks: a real runner starts all the same, says what it found, and loses nothing that can be
read (P1, P9, P10).
"""

from __future__ import annotations

import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from django_graceful.exceptions import StoreUnavailable
from tests.harness import Site, numbers, until
from tests.site import queues

pytestmark = pytest.mark.process


def segment(site: Site) -> Path:
    """The inbox's one segment."""
    [path] = (site.store / "inbox").glob("*.log")
    return path


def flip(path: Path, at: int, length: int = 4) -> None:
    data = bytearray(path.read_bytes())
    for n in range(at, at + length):
        data[n] ^= 0xFF
    path.write_bytes(data)


def handled(site: Site) -> set[str]:
    return set(numbers(site.lines(), "record"))


def test_a_damaged_inbox_record_is_kept_aside_and_everything_around_it_is_handled(site: Site) -> None:
    for n in range(100):
        queues.record.push(f"item-{n}")
    path = segment(site)
    flip(path, path.read_bytes().index(b"item-50"))
    runner = site.runner("--drain")
    assert runner.end() == 0
    assert handled(site) == {f"item-{n}" for n in range(100) if n != 50}
    assert any("WARNING" in line and "aside" in line for line in runner.log)
    assert any(b"tem-50" in file.read_bytes() or file.stat().st_size for file in (site.store / "aside").iterdir())


def test_a_torn_inbox_record_is_kept_aside_and_what_is_pushed_afterwards_is_handled(site: Site) -> None:
    for n in range(10):
        queues.record.push(f"item-{n}")
    path = segment(site)
    path.write_bytes(path.read_bytes()[:-5])
    runner = site.runner().serving()
    queues.record.push("after")
    site.said("record after")
    assert runner.stop() == 0
    assert handled(site) == {f"item-{n}" for n in range(9)} | {"after"}


def remove(name: str) -> Callable[[Path], None]:
    def act(db: Path) -> None:
        for path in db.glob(name):
            path.unlink()

    return act


def scramble(name: str) -> Callable[[Path], None]:
    def act(db: Path) -> None:
        for path in db.glob(name):
            size = path.stat().st_size
            flip(path, size // 3, min(64, size - size // 3))

    return act


@pytest.mark.parametrize(
    "damage",
    [
        remove("CURRENT"),
        remove("MANIFEST*"),
        remove("*.log"),
        scramble("*.log"),
        scramble("MANIFEST*"),
        scramble("CURRENT"),
    ],
    ids=["no CURRENT", "no MANIFEST", "no log", "log flipped", "MANIFEST flipped", "CURRENT flipped"],
)
def test_a_damaged_database_is_said_and_nothing_that_the_inbox_still_has_is_lost(
    site: Site, damage: Callable[[Path], None]
) -> None:
    for n in range(200):
        queues.record.push(n)
    assert site.manage("graceful", "queues").returncode == 0  # takes the inbox in
    damage(site.store / "db")
    runner = site.runner().serving()
    queues.record.push("after")
    site.said("record after")
    until(lambda: {str(n) for n in range(200)} <= handled(site), "all of them")
    assert runner.stop() == 0


def test_a_lost_database_directory_is_no_crash_loop(site: Site) -> None:
    queues.record.push(1)
    assert site.runner("--drain").end() == 0
    shutil.rmtree(site.store / "db")
    queues.record.push(2)
    assert site.runner("--drain").end() == 0
    assert "record 2" in site.lines()


def test_a_store_that_is_a_file_is_an_error_in_words_and_exit_code_1(site: Site) -> None:
    site.store.write_text("not a directory")
    runner = site.runner()
    assert runner.end() == 1
    assert any(str(site.store) in line for line in runner.log)
    assert not any("Traceback" in line for line in runner.log)
    with pytest.raises(StoreUnavailable, match="store"):
        queues.record.push(1)


def test_a_runner_whose_disk_is_full_loses_nothing_and_goes_on_when_there_is_room(site: Site) -> None:
    runner = site.runner().serving()
    queues.record.push("first")
    site.said("record first")
    grown = max(path.stat().st_size for path in site.store.rglob("*") if path.is_file())
    _, hard = resource.prlimit(runner.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(runner.pid, resource.RLIMIT_FSIZE, (max(4096, grown), hard))
    for n in range(50):
        queues.record.push({"n": n, "fill": "x" * 10_000})
    runner.says("trying again, nothing is lost")
    resource.prlimit(runner.pid, resource.RLIMIT_FSIZE, (hard, hard))
    until(lambda: len(site.lines()) >= 51, "everything")
    assert len(site.lines()) == 51
    assert runner.stop() == 0
