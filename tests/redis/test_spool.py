"""The spool: pushes that return while the server is away, and are not lost (P1, P3, P10)."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from django_graceful.exceptions import QueueFull, StoreFull, StoreUnavailable
from django_graceful.items import UNIQUE, encode_record, id_of, new_id
from django_graceful.stores.leveldb.inbox import Inbox
from django_graceful.stores.leveldb.intake import Intake
from django_graceful.stores.redis import spool as spools
from django_graceful.stores.redis.spool import STRETCH, Spool
from tests.control.records import record
from tests.harness import until
from tests.redis.pushing import desk, opened
from tests.redis.server import Server
from tests.redis.site import RedisSite

NewSite = Callable[..., RedisSite]


class FakeServer:
    """Takes pushes, or is away."""

    def __init__(self) -> None:
        self.got: list[tuple[str, bytes]] = []
        self.away = False
        self.tries = 0

    def push(self, queue: str, some: Any, limit: int = 0) -> list[bytes]:
        self.tries += 1
        if self.away:
            raise StoreUnavailable("it is away")
        self.got += [(queue, one) for one in some]
        return [id_of(one) for one in some]


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    found = Spool(tmp_path / "spool")
    yield found
    found.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spools, "RETRY", 0.0)


def test_what_was_pushed_while_the_server_was_away_follows_the_next_push(spool: Spool, server: FakeServer) -> None:
    server.away = True
    away = [record(b"%d" % n) for n in range(3)]
    assert [spool.push("a", [one], 0, server.push) for one in away] == [[id_of(one)] for one in away]
    assert spool.backlog() > 0
    server.away = False
    last = record()
    spool.push("b", [last], 0, server.push)
    assert server.got == [("b", last), *(("a", one) for one in away)]
    assert spool.backlog() == 0
    spool.push("b", [last], 0, server.push)
    assert len(server.got) == 5, "nothing is handed over twice"


def test_another_process_hands_over_what_this_one_left(spool: Spool, server: FakeServer, tmp_path: Path) -> None:
    server.away = True
    spool.push("a", [record(), record()], 0, server.push)
    spool.close()
    server.away = False
    other = Spool(tmp_path / "spool")
    assert not other.hand_over(server.push)
    assert [queue for queue, _ in server.got] == ["a", "a"]
    assert not Spool(tmp_path / "spool").hand_over(server.push)
    assert len(server.got) == 2


def test_a_handing_over_that_fails_keeps_everything(spool: Spool, server: FakeServer) -> None:
    server.away = True
    spool.push("a", [record()], 0, server.push)
    with pytest.raises(StoreUnavailable):
        spool.hand_over(server.push)
    server.away = False
    spool.hand_over(server.push)
    assert len(server.got) == 1


def test_a_push_that_works_is_no_worse_for_a_spool_that_does_not(
    spool: Spool, server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.away = True
    spool.push("a", [record()], 0, server.push)
    server.away = False
    calls = iter([False, True])

    def once(queue: str, some: Any, limit: int = 0) -> list[bytes]:
        server.away = next(calls)
        return server.push(queue, some)

    assert spool.push("b", [last := record()], 0, once) == [id_of(last)]
    assert "can not be handed over yet: it is away" in caplog.text
    server.away = False
    spool.push("b", [record()], 0, server.push)
    assert [queue for queue, _ in server.got] == ["b", "b", "a"]


def test_while_the_server_is_away_pushes_do_not_wait_for_it_each_time(
    spool: Spool, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spools, "RETRY", 60.0)
    server.away = True
    for _ in range(5):
        spool.push("a", [record()], 0, server.push)
    assert server.tries == 1


def test_a_full_queue_is_the_callers_business(spool: Spool) -> None:
    def full(*args: Any) -> Any:
        raise QueueFull("full")

    with pytest.raises(QueueFull):
        spool.push("a", [record()], 1, full)
    assert spool.backlog() == 0


def test_no_room_here_either_is_said(spool: Spool, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise StoreFull("no room")

    monkeypatch.setattr(Inbox, "append", full)
    server.away = True
    with pytest.raises(StoreFull):
        spool.push("a", [record()], 0, server.push)


def test_one_process_at_a_time_hands_over(spool: Spool, server: FakeServer, tmp_path: Path) -> None:
    server.away = True
    spool.push("a", [record()], 0, server.push)
    server.away = False
    other = Spool(tmp_path / "spool")

    def meanwhile(queue: str, some: Any) -> list[bytes]:
        assert not other.hand_over(server.push)
        return server.push(queue, some)

    spool.hand_over(meanwhile)
    assert len(server.got) == 1


def test_much_is_handed_over_in_stretches(spool: Spool, server: FakeServer) -> None:
    server.away = True
    for _ in range(3):
        spool.push("a", [record() for _ in range(STRETCH - 1)], 0, server.push)
    server.away = False
    assert spool.hand_over(server.push)
    assert STRETCH - 1 <= len(server.got) < 3 * (STRETCH - 1)
    while spool.hand_over(server.push):
        pass
    assert len(server.got) == 3 * (STRETCH - 1)


def test_who_is_killed_while_clearing_away_has_noted_what_was_handed_over(
    spool: Spool, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.away = True
    spool.push("a", [record()], 0, server.push)
    server.away = False

    def dies(intake: Intake) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Intake, "advance", dies)
        with pytest.raises(KeyboardInterrupt):
            spool.hand_over(server.push)
    spool.hand_over(server.push)
    assert len(server.got) == 1


def test_lost_notes_hand_over_again_under_the_same_ids(spool: Spool, server: FakeServer, tmp_path: Path) -> None:
    server.away = True
    spool.push("a", [record()], 0, server.push)
    server.away = False
    spool.hand_over(server.push)
    (tmp_path / "spool" / "offsets").write_text("nonsense")
    spool.hand_over(server.push)
    assert len(server.got) == 2
    assert server.got[0] == server.got[1]


def test_a_store_without_a_directory_has_nothing_to_hand_over(tmp_path: Path, server: FakeServer) -> None:
    assert not Spool(tmp_path / "none").hand_over(server.push)
    assert not (tmp_path / "none").exists()


@pytest.mark.process
def test_a_real_server_gets_each_item_once_and_unique_ones_are_merged(
    redis_site: NewSite, own_server: Callable[..., Server], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    running = own_server("--appendonly", "yes")
    site = redis_site(running.url)
    with opened(site, spool=tmp_path / "spool") as store, caplog.at_level(logging.INFO):
        running.kill()
        unique = [encode_record(new_id(), b"1", key="k", flags=UNIQUE, pushed_at=0) for _ in range(2)]
        began = time.monotonic()
        store.push("q", [record()])
        store.push("q", [unique[0]])
        store.push("q", [unique[1]])
        assert time.monotonic() - began < 5
        assert f"pushes wait in {tmp_path / 'spool'}" in caplog.text
        assert store.backlog() > 0
        running.start()
        until(lambda: store.push("other", [record()]) and not store.backlog(), "the handing over")
        assert "3 items that waited" in caplog.text
        with desk(site) as admin:
            counts = admin.counts()["q"]
            assert (counts.waiting, counts.duplicates) == (2, 1)
            assert admin.check() == []


@pytest.mark.process
def test_the_runner_of_the_host_hands_over_what_a_dead_process_left(
    redis_site: NewSite, own_server: Callable[..., Server], tmp_path: Path
) -> None:
    running = own_server("--appendonly", "yes")
    site = redis_site(running.url, SPOOL=str(tmp_path / "spool"))
    runner = site.runner().serving()
    running.kill()
    code = "import django; django.setup(); from django_graceful.queues import get_queue; "
    code += "get_queue('record').push('kept'); import os; os.kill(os.getpid(), 9)"
    ended = subprocess.run([sys.executable, "-c", code], env=site.env, cwd=site.root, check=False, capture_output=True)
    assert ended.returncode == -9, ended.stderr
    status = site.manage("graceful", "status")
    assert "bytes not yet taken in" in status.stdout, status
    running.start()
    site.said("record kept")
    assert runner.stop() == 0
    assert os.listdir(site.store) == []
