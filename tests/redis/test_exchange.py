"""The exchange of a redis store: nodes see and order each other, the dead are gone, the silent are named."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from django_graceful import nodes, process
from django_graceful.conf import StoreConf
from django_graceful.exceptions import StoreUnavailable
from django_graceful.nodes import node_name
from django_graceful.stores import close_stores
from django_graceful.stores.redis import RedisStore
from django_graceful.stores.redis import exchange as exchanges
from django_graceful.stores.redis.exchange import RedisExchange
from tests.nodes.conftest import threads
from tests.redis.kit import add_cache, cache_setting, server
from tests.redis.server import Server, free_port, until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def make(request: pytest.FixtureRequest) -> Iterator[Callable[..., RedisExchange]]:
    """Parts of one exchange, as if each were in a process of its own."""
    made: list[RedisStore] = []

    def part(url: str = "") -> RedisExchange:
        alias = f"exchange-{len(made)}"
        add_cache(alias, cache_setting(url or server().url, f"[{request.node.name[:20]}*?]"))
        made.append(RedisStore(StoreConf("default", "redis", cache=alias)))
        found = made[-1].exchange()
        assert isinstance(found, RedisExchange)
        return found

    yield part
    for store in made:
        store.exchange().leave()
        store.close()


def echo(order: dict[str, Any]) -> dict[str, Any]:
    return {"echo": order}


def test_whoever_joined_is_seen_by_all_and_does_as_it_is_told(make: Callable[..., RedisExchange]) -> None:
    one, other, outsider = make(), make(), make()
    assert outsider.nodes() == []
    one.join("aaaa", lambda: {"node": "aaaa", "big": "x" * 3_000_000}, echo)
    other.join("bbbb", lambda: {"node": "bbbb"}, echo)
    for part in (one, other, outsider):
        assert sorted(node["node"] for node in part.nodes()) == ["aaaa", "bbbb"]
        assert part.order("bbbb", {"cancel": "x", "by": "ädä"}) == {"echo": {"cancel": "x", "by": "ädä"}}
        assert part.order("cccc", {}) is None
    one.leave()
    one.leave()
    assert [node["node"] for node in outsider.nodes()] == ["bbbb"]
    assert outsider.order("aaaa", {}) is None
    one.join("aaaa", lambda: {"node": "aaaa"}, echo)
    assert len(outsider.nodes()) == 2


def test_stores_with_a_prefix_of_their_own_do_not_see_each_other(
    make: Callable[..., RedisExchange], open_store: Any
) -> None:
    make().join("aaaa", lambda: {"node": "aaaa"}, echo)
    assert open_store(server().url, prefix="another site").exchange().nodes() == []


def test_a_node_that_fails_to_answer_is_silent_and_the_others_are_shown(
    make: Callable[..., RedisExchange], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*args: Any) -> dict[str, Any]:
        raise RuntimeError("a bug")

    monkeypatch.setattr(exchanges, "ORDER", 0.3)
    make().join("aaaa", broken, broken)
    make().join("bbbb", lambda: {"node": "bbbb"}, echo)
    began = time.monotonic()
    found = make().nodes()
    assert time.monotonic() - began < 5
    assert sorted(found, key=lambda node: node["node"]) == [
        {"node": "aaaa", "pid": None, "silent": True},
        {"node": "bbbb"},
    ]
    with pytest.raises(StoreUnavailable, match=r"node aaaa did not answer within 0\.3 s; it may still do"):
        make().order("aaaa", {})
    assert make().order("bbbb", {}) == {"echo": {}}
    assert "a bug" in caplog.text


@pytest.mark.parametrize("garbage", [b"", b"\xff", b"[]", b"7", b"{}", b'{"call": "order"}', b'{"reply": 7}'])
def test_garbage_costs_a_node_nothing(make: Callable[..., RedisExchange], garbage: bytes) -> None:
    one = make()
    one.join("aaaa", lambda: {"node": "aaaa"}, echo)
    with server().client() as client:
        assert client.publish(f"{one._channel}aaaa", garbage) == 1
    assert make().nodes() == [{"node": "aaaa"}]


def test_an_answer_that_nobody_fetches_goes_by_itself(make: Callable[..., RedisExchange]) -> None:
    one = make()
    one.join("aaaa", lambda: {"node": "aaaa"}, echo)
    with server().client() as client:
        client.publish(f"{one._channel}aaaa", b'{"call": "describe", "reply": "left-behind"}')
        until(lambda: client.exists("left-behind"))
        assert 0 < client.ttl("left-behind") <= 10


def test_without_a_server_a_look_and_an_order_raise(make: Callable[..., RedisExchange]) -> None:
    part = make(f"redis://127.0.0.1:{free_port()}/0")
    with pytest.raises(StoreUnavailable, match="can not be reached"):
        part.nodes()
    with pytest.raises(StoreUnavailable, match="can not be reached"):
        part.order("aaaa", {})


@pytest.mark.process
def test_a_node_that_joined_before_there_was_a_server_is_seen_when_there_is_one(
    make: Callable[..., RedisExchange], own_server: Callable[..., Server], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    running = own_server()
    running.kill()
    part = make(running.url)
    part.join("aaaa", lambda: {"node": "aaaa"}, echo)
    assert caplog.text.count("can not be seen") == 1
    running.start()
    until(lambda: part.nodes() == [{"node": "aaaa"}])
    running.kill()
    until(lambda: caplog.text.count("can not be seen") == 2)
    running.start()
    until(lambda: part.nodes() == [{"node": "aaaa"}])


def test_the_child_of_a_fork_is_no_node_and_leaves_its_parent_alone(make: Callable[..., RedisExchange]) -> None:
    part = make()
    part.join("aaaa", lambda: {"node": "aaaa"}, echo)
    pid = os.fork()
    if not pid:
        began = time.monotonic()
        part.leave()
        os._exit(time.monotonic() - began > 1)  # there is no thread to wait for
    assert os.waitpid(pid, 0)[1] == 0
    assert make().nodes() == [{"node": "aaaa"}]


def test_leaving_ends_the_thread(make: Callable[..., RedisExchange]) -> None:
    before = threads()
    part = make()
    part.join("aaaa", lambda: {"node": "aaaa"}, echo)
    assert threads() == before + 1
    part.leave()
    until(lambda: threads() == before)


CHILD = """
import sys, time, django
from tests.redis.kit import add_cache, cache_setting
django.setup()
add_cache("queues", cache_setting(sys.argv[1], "real"))
from django.conf import settings
from django.test import override_settings
from django_graceful import process
with override_settings(GRACEFUL={"STORES": {"default": {"BACKEND": "redis", "ALIAS": "queues"}}}):
    with process("work of the child") as p:
        print(p.id, flush=True)
        while True:
            p.check()
            time.sleep(0.01)
"""


@pytest.mark.process
def test_processes_see_and_cancel_each_other_and_the_killed_are_gone(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchanges, "LOOK", 20.0)  # for busy machines; it is over as soon as all have answered
    add_cache("queues", cache_setting(server().url, "real"))
    settings.GRACEFUL = {"STORES": {"default": {"BACKEND": "redis", "ALIAS": "queues"}}}
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-c", CHILD, server().url]
    children = [subprocess.Popen(argv, env=env, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        running = [str(child.stdout and child.stdout.readline()).strip() for child in children]
        with process("work of the parent"):
            rows = {row["id"]: row["description"] for node in nodes.running() for row in node["processes"]}
            assert {rows[one] for one in running} == {"work of the child"}
            assert {node["node"] for node in nodes.running()} == {node_name(), *(one.split(".")[0] for one in running)}
        assert nodes.cancel(running[0], by="ada") == "asked"
        assert children[0].wait(20) != 0
        children[1].send_signal(signal.SIGKILL)
        children[1].wait()
        until(lambda: [node["node"] for node in nodes.running()] == [node_name()])
    finally:
        for child in children:
            child.kill()
            child.wait()
            if child.stdout is not None:
                child.stdout.close()
        nodes.leave()
        close_stores()
