"""The comparison with other systems: what it counts, and what it prints. No peer is needed."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.peers import handler
from benchmarks.peers.catalog import SYSTEMS
from benchmarks.peers.checking import Verdict, judge, length, written
from benchmarks.peers.killing import Aftermath
from benchmarks.peers.measures import Found
from benchmarks.peers.places import versions
from benchmarks.peers.report import notes, percentile, table

ROOT = Path(__file__).resolve().parents[2]


def test_each_number_once_in_any_order_is_exact() -> None:
    seen = list(range(1000))
    random.Random(1).shuffle(seen)
    assert judge(seen, 1000) == Verdict(lost=0, doubled=0)
    assert judge(seen, 1000).exact


@pytest.mark.parametrize(
    ("seen", "lost", "doubled"),
    [
        ([], 4, 0),
        ([0, 1, 3], 1, 0),
        ([0, 1, 2, 3, 3], 0, 1),
        ([0, 1, 1, 1, 2, 2, 3], 0, 2),
        ([0, 0, 1, 2], 1, 1),
    ],
)
def test_a_lost_and_a_doubled_number_do_not_make_up_for_each_other(seen: list[int], lost: int, doubled: int) -> None:
    assert judge(seen, 4) == Verdict(lost, doubled)
    assert not judge(seen, 4).exact


@pytest.mark.parametrize("number", [-1, 4])
def test_a_number_that_nobody_pushed_is_an_error(number: int) -> None:
    with pytest.raises(ValueError, match=f"{number} was handled, but only 0 to 3 were pushed"):
        judge([0, 1, 2, 3, number], 4)


def test_what_the_handlers_write_is_read_back_in_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEERS_PLACE", str(tmp_path))
    handler._opened.cache_clear()
    for number in (7, 0, 7):
        handler.mark(number)
    handler.late(0)
    for name in (handler.MARKS, handler.DELAYS):
        os.close(handler._opened(name))
    handler._opened.cache_clear()
    assert (tmp_path / "marks").stat().st_size == 3 * 32
    assert written(tmp_path / "marks") == [7, 0, 7]
    assert length(tmp_path / "marks") == 3
    assert written(tmp_path / "delays")[0] > 0


def test_where_nothing_was_handled_there_is_nothing(tmp_path: Path) -> None:
    assert written(tmp_path / "marks") == []
    assert length(tmp_path / "marks") == 0


@pytest.mark.parametrize("content", [b"0" * 31 + b"x", b"0" * 30 + b"x\n", b"0" * 31 + b"\n" + b"12\n"])
def test_a_line_that_no_handler_has_written_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "marks").write_bytes(content)
    with pytest.raises(ValueError, match="which no handler has written"):
        written(tmp_path / "marks")


def test_a_system_without_a_valid_round_has_no_rate_in_the_table_and_its_reason_below() -> None:
    found = {"huey": Found(push=[100.0], void=["1 lost, 0 done more than once"])}
    row = list(table(found, {}))[-1]
    assert row == "| huey | 100 (100 to 100) | none | none | none | not run | not run | not run |"
    assert "huey: a void round: 1 lost, 0 done more than once" in list(notes(found, {}, {"huey": {}}))


def test_the_table_gives_the_median_and_how_we_stand_to_the_fastest_peer() -> None:
    found = {
        "django_graceful": Found(push=[70.0], drain=[300.0, 900.0, 600.0], delays=[1.0] * 98 + [4.0, 9.0]),
        "raw-redis": Found(push=[100.0], drain=[5000.0]),
        "huey": Found(push=[1.0], drain=[200.0]),
        "dramatiq": Found(push=[1.0], drain=[100.0]),
    }
    after = {"huey": Aftermath(Verdict(2, 1), last=3.25, waited=75.0)}
    rows = list(table(found, after))
    assert rows[2].startswith("| django_graceful | 70 (70 to 70) | none | 600 (300 to 900) | 1.00 / 9.00 |")
    assert rows[4].endswith("| 2 | 1 | 3.2 s |")
    said = list(notes(found, after, {name: {"redis": "8"} for name in found}))
    assert "drain: 3.0 times that of huey, the fastest peer" in said
    assert "push: 0.70 of the LPUSH loop" in said


def test_a_percentile_is_one_of_the_values() -> None:
    assert percentile([5.0, 1.0, 3.0], 0.5) == 3.0
    assert percentile([float(n) for n in range(100)], 0.99) == 99.0


def test_every_system_has_a_module_and_says_what_was_set() -> None:
    for system in SYSTEMS.values():
        assert (ROOT / f"{system.source.replace('.', '/')}.py").is_file()
        assert system.settings


def test_a_system_that_is_not_installed_is_told_with_what_to_do() -> None:
    with pytest.raises(RuntimeError, match=r"arq is not installed for .*elsewhere.*; `make bench-peers` does that"):
        versions(replace(SYSTEMS["arq"], home="elsewhere"))
