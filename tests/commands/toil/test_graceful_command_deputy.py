"""A command that does not answer, because C code of it holds the interpreter's lock, is seen and cancelled all the
same: its supervisor answers for it.
"""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from django_graceful import nodes
from django_graceful.exceptions import StoreUnavailable
from django_graceful.nodes.names import stand_in
from django_graceful.stores import close_stores, get_store
from tests.commands.toil.conftest import Toil, Toiling, stopped
from tests.harness import Site, until
from tests.processes.conftest import Census
from tests.redis.conftest import redis_site  # noqa: F401
from tests.redis.kit import add_cache, cache_setting

pytestmark = pytest.mark.process


@pytest.fixture
def redis_here(redis_site: Any, settings: Any) -> Iterator[Site]:  # noqa: F811
    """A site on Redis, whose store is this process's too."""
    found = redis_site()
    alias = f"queues-{found.space}"
    add_cache(alias, cache_setting(found.url, found.space))
    settings.GRACEFUL = {"STORES": {"default": {"BACKEND": "redis", "ALIAS": alias}}}
    yield found
    close_stores()


def started(site: Site, census: Census, way: str, **options: Any) -> Toil:
    return Toil(site, "toil", way, census.name, **options).says("begin")


def process_id(site: Site) -> str:
    return site.lines()[0].split()[2]


def test_a_command_in_c_code_is_listed_as_running_and_ended_by_its_id(
    toil: Toiling, site: Site, census: Census
) -> None:
    running = toil("stuck", extra={"CANCEL_GRACE": 0.5}).says("stuck")
    (node,) = until(lambda: [one for one in nodes.running() if not one.get("silent")], "it to be shown")
    (row,) = node["processes"]
    assert (node["kind"], node["pid"], node["phase"]) == ("command", running.child, "running")
    assert (node["node"], row["id"], row["stop"]) == (process_id(site).partition(".")[0], process_id(site), None)
    assert (row["kind"], row["description"]) == ("command", f"toil stuck {census.name}")
    found = site.manage("graceful", "cancel", process_id(site), "--reason", "wrong list", "--wait")
    assert found.returncode == 0, found.stderr
    assert "ended after" in found.stdout
    assert running.end() == 137
    assert re.fullmatch(r"killed after it was cancelled by [^:]+: wrong list; \d\.\d s", running.last)
    assert (nodes.running(), census.alive()) == ([], [])


def test_the_same_on_redis(redis_here: Site, census: Census) -> None:
    running = started(redis_here, census, "stuck", extra={"CANCEL_GRACE": 0.5})
    try:
        running.says("stuck")
        (node,) = until(lambda: [one for one in nodes.running() if not one.get("silent")], "it to be shown")
        assert (node["node"], node["pid"]) == (process_id(redis_here).partition(".")[0], running.child)
        assert nodes.cancel(process_id(redis_here), by="ada", reason="wrong list") is nodes.Reply.ASKED
        assert running.end() == 137
        assert running.last.startswith("killed after it was cancelled by ada: wrong list; ")
        until(lambda: nodes.running() == [], "it to be gone")
    finally:
        running.cleanup()


def test_a_cancel_in_its_place_interrupts_the_command_as_its_own_does(toil: Toiling, site: Site) -> None:
    running = toil("sleep").says("begin")
    exchange = get_store("default").exchange()
    wish = {"cancel": process_id(site), "by": "ada", "note": "wrong list"}
    until(lambda: exchange.order(stand_in(process_id(site).partition(".")[0]), wish) == {"reply": "asked"}, "to ask")
    assert running.end() == 1
    assert site.lines()[1:] == ["cancelled cancel", "cleanup"]
    assert running.last.startswith("cancelled by ada: wrong list, at 3; ")


def test_a_wish_and_its_author_are_shown_until_the_kill(toil: Toiling, site: Site) -> None:
    running = toil("stuck", extra={"CANCEL_GRACE": 60, "KILL_AFTER": 0.5}).says("stuck")
    until(lambda: not nodes.running()[0].get("silent"), "it to be shown")
    asked = time.time()
    nodes.cancel(process_id(site), by="ada", reason="wrong list")
    nodes.cancel(process_id(site), by="bob", reason="too late")
    ((stop,),) = ([row["stop"] for row in node["processes"]] for node in nodes.running())
    assert (stop["reason"], stop["by"], stop["note"], stop["killed_at"]) == ("cancel", "ada", "wrong list", None)
    assert asked - 1 < stop["asked_at"] < asked + 10
    running.send(signal.SIGQUIT, signal.SIGTERM)
    assert running.end() == 137


def test_what_only_the_command_knows_is_not_called_unknown(toil: Toiling, site: Site) -> None:
    toil("stuck").says("stuck")
    until(lambda: not nodes.running()[0].get("silent"), "it to be shown")
    other = f"{process_id(site).partition('.')[0]}.99"
    with pytest.raises(StoreUnavailable, match="did not answer"):
        nodes.cancel(other)


def test_a_command_that_is_stopped_with_its_supervisor_is_one_silent_node(toil: Toiling, site: Site) -> None:
    running = toil("sleep").says("begin")
    sockets = site.store / "nodes"
    until(lambda: len(list(Path(sockets).glob("*.sock"))) == 2, "both to be nodes")
    assert [one["pid"] for one in nodes.running()] == [running.child]
    both = [psutil.Process(running.pid), psutil.Process(running.child)]
    for one in both:
        one.suspend()
        stopped(one.pid)
    assert nodes.running() == [
        {"node": process_id(site).partition(".")[0], "pid": running.child, "silent": True},
    ]
    for one in both:
        one.resume()
    running.send(signal.SIGQUIT)
    assert running.end() == 131
    assert list(Path(sockets).glob("*.sock")) == []
