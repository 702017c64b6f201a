"""Real gunicorns whose workers keep items in memory are stopped in every way: each item that was pushed is done, or it
is in the store on disk, where a runner does it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from django_graceful.items import State
from django_graceful.store_conf import StoreConf
from django_graceful.stores.base import Found, Page, StoreAdmin
from django_graceful.stores.leveldb.store import LevelDBStore
from tests.gunicorn.conftest import serve  # noqa: F401  (a fixture)
from tests.gunicorn.server import ROOT, Server
from tests.harness import PATIENCE

pytestmark = pytest.mark.process

Serve = Callable[..., Server]


@pytest.fixture
def site(serve: Serve) -> Serve:  # noqa: F811
    """A gunicorn of the site with the memory store."""

    def start(kind: str, *arguments: str, **options: object) -> Server:
        return serve(kind, *arguments, **{"DJANGO_SETTINGS_MODULE": "tests.spill.settings"} | options)

    return start


def words(server: Server, word: str) -> list[str]:
    """What was said after that word."""
    return [line.split()[1] for line in server.lines(f"{word} ")]


def on_disk(place: Path) -> dict[str, Found]:
    """Everything in the store on disk, by item."""
    store = LevelDBStore(StoreConf("default", "leveldb", path=place / "store"))
    with store.admin(alone=True) as admin:
        pages = [page for name in admin.counts() for state in State for page in pages_of(admin, name, state)]
    return {found.item.id: found for page in pages for found in page.items}


def pages_of(admin: StoreAdmin, name: str, state: State) -> Iterator[Page]:
    page = admin.page(name, state, limit=1000)
    yield page
    while page.after is not None:
        page = admin.page(name, state, page.after, 1000)
        yield page


def burden(server: Server) -> None:
    """Items in every state: five are done, three run (one of them ends when it may), nine wait or are scheduled."""
    assert server.get("/push?n=5").status == 200
    server.said("done", 5)
    assert server.get("/push?n=3&delay=3600").status == 200
    assert server.get("/push?n=1&queue=polite").status == 200
    assert server.get("/push?n=2&seconds=60").status == 200
    server.said("running", 8)
    assert server.get("/push?n=6").status == 200


def all_there(server: Server, running: int = 0) -> dict[str, Found]:
    """Each item is done, or on disk, and only ``running`` of those that ran at the end perhaps both."""
    pushed, done, disk = words(server, "pushed"), words(server, "done"), on_disk(server.place)
    assert len(set(pushed)) == len(pushed)
    assert sorted({*done, *disk}) == sorted(pushed), server
    assert len(done) == len(set(done))
    assert len({*done} & {*disk}) <= running
    assert {found.item.attempt for found in disk.values()} <= {0}
    assert not [line for line in server.log if "Traceback" in line or "SIGKILL" in line], server
    return disk


@pytest.mark.parametrize("kind", ["sync", "gthread", "gevent", "asgi", "uvicorn"])
def test_at_term_what_runs_may_end_until_the_hammer_and_the_rest_is_persisted(site: Serve, kind: str) -> None:
    server = site(kind, graceful=5)
    burden(server)
    began = time.monotonic()
    server.send(signal.SIGTERM)
    assert server.end() == 0
    assert 2 < time.monotonic() - began < 15, "two of them run until the hammer"
    assert len(words(server, "done")) == 6, str(server)
    assert len(all_there(server)) == 11
    server.gone()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
@pytest.mark.parametrize("kind", ["sync", "gthread", "asgi"])
def test_in_a_hurry_what_runs_is_cancelled_at_once(site: Serve, kind: str, number: signal.Signals) -> None:
    server = site(kind, graceful=20)
    burden(server)
    server.send(number)
    server.end()
    all_there(server)
    assert len(words(server, "done")) <= 6, server
    server.gone()


@pytest.mark.parametrize("kind", ["sync", "gthread"])
def test_ctrl_c_in_the_middle_of_requests_that_push(site: Serve, kind: str) -> None:
    server = site(kind)
    path = "/push-and-block?n=10&seconds=30"
    answer = server.ask(path)
    os.killpg(server.pid, signal.SIGINT)
    server.end()
    answer.result(PATIENCE)
    assert len(all_there(server)) == 10
    server.gone()


@pytest.mark.parametrize("kind", ["sync", "gthread"])
def test_a_reload_hands_over_what_the_old_worker_has(site: Serve, kind: str) -> None:
    server = site(kind, graceful=3)
    burden(server)
    old = server.worker()
    server.send(signal.SIGHUP)
    server.said(f"hook child_exit {old}")
    assert server.get("/push?n=5").status == 200
    server.said("done", 11)
    server.send(signal.SIGTERM)
    assert server.end() == 0
    assert len(all_there(server)) == 11
    server.gone()


def test_a_worker_that_has_had_its_requests_hands_over(site: Serve) -> None:
    server = site("gthread", "--max-requests", "5", graceful=3)
    old = server.worker()
    burden(server)
    server.said(f"hook child_exit {old}")
    server.send(signal.SIGTERM)
    assert server.end() == 0
    all_there(server)
    server.gone()


@pytest.mark.parametrize("kind", ["sync", "asgi"])
def test_a_worker_that_hangs_hands_over_when_it_is_aborted(site: Serve, kind: str) -> None:
    server = site(kind, "--timeout", "2", graceful=20, GRACEFUL_TEST_KILL_AFTER="0.5")
    old = server.worker()
    server.ask(f"/push-and-block{'-all' if kind == 'asgi' else ''}?n=9&seconds=30")
    server.said(f"hook child_exit {old}")
    server.send(signal.SIGINT)
    server.end()
    all_there(server)


def test_a_job_that_heeds_nothing_is_persisted_before_the_worker_goes(site: Serve) -> None:
    server = site("gthread", graceful=3)
    assert server.get("/push?n=1&queue=deaf").status == 200
    server.said("running")
    server.send(signal.SIGTERM)
    assert server.end() == 0
    assert len(all_there(server)) == 1
    server.gone()


def test_pushes_of_a_worker_that_drains_go_to_the_disk(site: Serve) -> None:
    server = site("gthread", graceful=6)
    answer = server.ask("/drains")
    assert server.get("/push?n=1&seconds=60").status == 200
    server.said("running")
    server.send(signal.SIGTERM)
    answer.result(PATIENCE)
    assert server.end() == 0
    assert len(all_there(server)) == 1


def test_what_is_pushed_while_the_site_is_loaded_goes_to_the_disk(site: Serve) -> None:
    server = site("sync", "--preload", GRACEFUL_TEST_SPILL_AT_IMPORT="yes")
    for process in server.alive():
        process.kill()
    server.end()
    assert len(words(server, "pushed")) == 1
    assert {*on_disk(server.place)} == {*words(server, "pushed")}


def test_a_killed_worker_loses_what_it_has_in_memory_and_nothing_else(site: Serve) -> None:
    server = site("gthread")
    burden(server)
    os.kill(server.worker(), signal.SIGKILL)
    server.said("hook post_worker_init", 2)
    assert server.get("/push?n=2").status == 200
    server.said("done", 7)
    server.send(signal.SIGTERM)
    assert server.end() == 0
    lost = {*words(server, "pushed")} - {*words(server, "done")} - {*on_disk(server.place)}
    assert len(lost) == 3 + 3 + 6


def test_a_runner_does_what_was_handed_over_and_what_was_dead_stays_dead(site: Serve) -> None:
    server = site("gthread")
    assert server.get("/push?n=1&queue=bad").status == 200
    server.said("bad")
    assert server.get("/push?n=3&seconds=30").status == 200
    server.said("running", 3)
    assert server.get("/push?n=7").status == 200
    server.send(signal.SIGQUIT)
    server.end()
    assert len(on_disk(server.place)) == 11
    environ = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.spill.settings", "GRACEFUL_TEST_PLACE": str(server.place)}
    runner = subprocess.Popen(
        [sys.executable, "-m", "django", "runqueues"], env=environ, cwd=ROOT, stderr=subprocess.DEVNULL
    )
    try:
        server.said("done", 7)
    finally:
        runner.terminate()
        runner.wait(PATIENCE)
    disk = on_disk(server.place)
    assert len(words(server, "bad")) == 1
    assert [found.state for found in disk.values() if found.item.queue == "bad"] == [State.DEAD]
    assert len(disk) == 4, "three have to begin anew"
