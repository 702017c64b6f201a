"""What goes wrong with servers and networks: clear errors, and nothing acknowledged is lost (P1, P10)."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from django_graceful.conf import StoreConf
from django_graceful.exceptions import StoreCorrupt, StoreError, StoreFull, StoreUnavailable
from django_graceful.items import Outcome
from django_graceful.stores.base import CancelReply
from django_graceful.stores.redis import RedisStore
from django_graceful.stores.redis import line as lines
from django_graceful.stores.redis.line import Line
from tests.control.records import record
from tests.redis.kit import RedisKit, add_cache, server
from tests.redis.server import Server, free_port, until

Start = Callable[..., Server]
ALWAYS = ("--appendonly", "yes", "--appendfsync", "always")


@pytest.mark.process
def test_what_was_acknowledged_is_there_after_the_server_was_killed(own_server: Start, open_store: Any) -> None:
    # (With everysec the server may hold back what it has acknowledged while the disk is busy.)
    running = own_server(*ALWAYS)
    kit = RedisKit.at(open_store(running.url))
    kit.push(*range(20))
    first, second, *_ = kit.lease(5)
    kit.done(first)
    running.kill()
    running.start()
    assert kit.owner.finish([second.execution]) == set()
    counts = kit.counts()
    assert (counts.pushed, counts.done, counts.running, counts.waiting) == (20, 2, 3, 15)
    kit.push("after")
    assert kit.owner.check() == []


@pytest.mark.process
def test_a_server_that_is_not_there_is_said_at_once_and_found_when_it_is_back(
    own_server: Start, open_store: Any
) -> None:
    running = own_server(*ALWAYS)
    kit = RedisKit.at(open_store(running.url))
    kit.push(1)
    running.kill()
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match=f"redis at 127.0.0.1:{running.port}, database 0 can not be reached"):
        kit.store.push("q", [kit.record(2)])
    assert time.monotonic() - began < 2
    with pytest.raises(StoreUnavailable):
        kit.owner.prepare()
    with pytest.raises(StoreUnavailable), kit.store.admin() as desk:
        desk.counts()
    running.start()
    kit.push(2)
    assert kit.drain() == [1, 2]


def test_a_step_that_raised_because_nobody_was_there_is_done_by_trying_again(
    own_server: Start, open_store: Any
) -> None:
    running = own_server(*ALWAYS)
    kit = RedisKit.at(open_store(running.url))
    kit.push(1)
    lease = kit.take()
    running.kill()
    with pytest.raises(StoreUnavailable):
        kit.owner.finish([lease.execution])
    running.start()
    assert kit.owner.finish([lease.execution]) == set()


@pytest.mark.process
def test_a_push_to_a_server_that_hangs_raises_within_its_timeout(own_server: Start, open_store: Any) -> None:
    running = own_server()
    with override_settings(GRACEFUL={"PUSH_TIMEOUT": 1}):
        kit = RedisKit.at(open_store(running.url))
    kit.push(1)
    assert running.process is not None
    running.process.send_signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="does not answer"):
            kit.store.push("q", [kit.record(2)])
        assert 0.4 < time.monotonic() - began < 1.5
    finally:
        running.process.send_signal(signal.SIGCONT)
    # The server has had the question all the time: pushing the same record again changes nothing.
    kit.push(3)
    assert kit.drain() in ([1, 2, 3], [1, 3])


def test_a_server_without_memory_refuses_pushes_and_lets_work_be_finished(own_server: Start, open_store: Any) -> None:
    running = own_server()
    kit = RedisKit.at(open_store(running.url))
    kit.push(*range(3))
    kit.push("x", queue="other")
    first, second = kit.lease(2)
    kit.push("late", queue="late", delay=0.001)
    (asked,) = kit.push("asked", queue="asked")
    lease = kit.take(queue="asked")
    with running.client() as client:
        client.config_set("maxmemory", "1mb")
        client.config_set("maxmemory-policy", "noeviction")
        for count in (1, 2):
            with pytest.raises(StoreFull, match="maxmemory is reached"):
                kit.owner.push("q", [kit.record("y") for _ in range(count)])
        assert kit.counts().pushed == 3
        kit.owner.pause("other")
        kit.owner.resume("other")
        assert kit.owner.request_cancel(asked) is CancelReply.ASKED
        kit.owner.note_step(lease.execution, "stopping", 1.0)
        assert kit.owner.renew([first.execution, lease.execution]) == set()
        kit.store.own(seat="starts without memory")
        kit.end(lease, Outcome.RETRY, error={"type": "E"})
        kit.done(first)
        until(lambda: kit.drain("late") == ["late"])
        kit.owner.release([second.execution])
        assert kit.drain() == [1, 2]
        client.config_set("maxmemory", "0")
    kit.push("y")
    assert kit.drain() == ["y"]
    assert kit.owner.check() == []


def test_a_replica_says_that_it_takes_no_writes(own_server: Start, open_store: Any) -> None:
    primary = own_server()
    store = open_store(own_server("--replicaof", f"127.0.0.1 {primary.port}").url)
    for count in (1, 2):
        with pytest.raises(StoreUnavailable, match="it is a replica"):
            store.push("q", [record() for _ in range(count)])


def test_a_server_that_is_loading_says_so(own_server: Start, open_store: Any) -> None:
    running = own_server("--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")
    kit = RedisKit.at(open_store(running.url))
    kit.owner.push("q", [kit.record(n) for n in range(100)])
    with running.client() as client:
        for number in range(800):
            client.set(f"ballast {number}", b"x")
        client.save()
    running.kill()
    running.start(wait=False)
    said = set()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            kit.push("loaded")
            break
        except StoreUnavailable as error:
            said.add(str(error))
            time.sleep(0.02)
    assert any("it is reading its data from the disk" in words for words in said)
    assert kit.counts().pushed == 101


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("redis://:secret@127.0.0.1:{port}/3", "127.0.0.1:{port}, database 3"),
        ("redis://user:secret@localhost:{port}/0", "localhost:{port}, database 0"),
        ("rediss://:secret@localhost:{port}/0", "localhost:{port}"),
        ("unix:///nowhere/redis.sock?db=2&password=secret", "/nowhere/redis.sock, database 2"),
    ],
)
def test_no_error_shows_a_password(open_store: Any, url: str, where: str) -> None:
    port = free_port()
    store = open_store(url.format(port=port))
    with pytest.raises(StoreUnavailable) as caught:
        store.push("q", [b""])
    seen: BaseException | None = caught.value
    while seen is not None:
        assert "secret" not in str(seen)
        seen = seen.__cause__ or seen.__context__
    assert where.format(port=port) in str(caught.value)


def test_a_wrong_password_is_named_and_not_shown(own_server: Start, open_store: Any) -> None:
    running = own_server("--protected-mode", "no")
    with running.client() as client:
        client.config_set("requirepass", "right")
        for url in (running.url, f"redis://:wrong-one@127.0.0.1:{running.port}/0"):
            with pytest.raises(StoreUnavailable, match="password") as caught:
                open_store(url).push("q", [b""])
            assert "wrong-one" not in str(caught.value)
        open_store(f"redis://:right@127.0.0.1:{running.port}/0").push("q", [b""])


def test_an_alias_whose_cache_decodes_its_answers_serves_as_well(open_store: Any) -> None:
    url = server().url.removesuffix("/0") + "/1"  # django-redis has one pool for each URL
    store = open_store(url, prefix="decoding", CONNECTION_POOL_KWARGS={"decode_responses": True})
    kit = RedisKit.at(store)
    kit.push("ключ", b"\xff".decode("latin-1"))
    kit.owner.push("q", [b"\xff\xfe not a record"])
    assert kit.drain() == ["ключ", "ÿ"]
    assert kit.counts().dead == 1


@pytest.mark.parametrize(
    ("backend", "words"),
    [
        (None, "CACHES has no 'nobody'"),
        ("django.core.cache.backends.locmem.LocMemCache", "is not a cache of django-redis"),
        ("django.core.cache.backends.redis.RedisCache", "is not a cache of django-redis"),
    ],
)
def test_an_alias_that_is_none_of_django_redis_is_an_error_of_the_settings(backend: str | None, words: str) -> None:
    if backend is not None:
        add_cache("nobody-yet", {"BACKEND": backend, "LOCATION": "redis://localhost"})
    store = RedisStore(StoreConf("default", "redis", cache="nobody" if backend is None else "nobody-yet"))
    with pytest.raises(ImproperlyConfigured, match=words):
        store.push("q", [b""])


def test_making_a_store_opens_nothing(open_store: Any) -> None:
    store = open_store("redis://nowhere.invalid:1/0")
    store.exchange()
    store.close()


def test_a_store_of_a_later_release_is_left_alone(kit: RedisKit) -> None:
    with server().client() as client:
        client.set(f"{kit.space}:graceful:format", 2)
    with pytest.raises(StoreCorrupt, match="format 2, this release of django_graceful knows 1"):
        kit.store.own()


def test_keys_of_another_program_are_an_error_that_says_so(kit: RedisKit) -> None:
    kit.push("x")
    with server().client() as client:
        client.set(f"{{{kit.space}:graceful:other}}:items", "mine")
    with pytest.raises(StoreError, match="another program has written to our keys"):
        kit.push("x", queue="other")


def test_there_is_a_limit_to_the_number_of_queues(kit: RedisKit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MOST_QUEUES", 2)
    kit.push("x")
    kit.push("x", queue="q2")
    with pytest.raises(StoreError, match="queue 'q3' is one too many"):
        kit.push("x", queue="q3")
    kit.push("y", queue="q2")
    assert set(kit.owner.counts()) == {"q", "q2"}


def test_queues_that_were_flushed_away_are_there_again_with_the_next_push(kit: RedisKit) -> None:
    kit.push("lost", queue="a")
    kit.push("lost", queue="b")
    with server().client() as client:
        for key in client.scan_iter(f"*{kit.space}:*"):
            client.delete(key)
    kit.push(1, queue="b")
    kit.push(2, queue="a")
    assert (kit.drain("b"), kit.drain("a")) == ([1], [2])
    assert kit.owner.check() == []


def test_a_broken_question_is_not_answered_to_the_next(kit: RedisKit, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal's exception comes between a question and its answer."""
    (item_id,) = kit.push("x")
    pool = kit.store.line.client.connection_pool
    connection = pool.get_connection()
    pool.release(connection)
    with monkeypatch.context() as patch:
        patch.setattr(connection, "read_response", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            kit.owner.has("q", "k")
    found = kit.owner.get(item_id)
    assert found is not None
    assert found.item.payload == "x"
    assert kit.owner.has("q", "k") is False


def _interrupt(*args: Any, **kwargs: Any) -> None:
    raise KeyboardInterrupt


def test_a_forked_child_has_connections_of_its_own(kit: RedisKit) -> None:
    kit.push("parent")
    mine = _connection_id(kit.store.line)
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            kit.store.push("q", [kit.record("child")])
            os.write(writing, str(_connection_id(kit.store.line)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(pid, 0)
    with os.fdopen(reading) as file:
        theirs = int(file.read())
    assert theirs != mine == _connection_id(kit.store.line)
    assert kit.drain() == ["parent", "child"]


def _connection_id(line: Line) -> int:
    return int(line.client.client_id())


def test_two_aliases_of_one_server_may_have_a_prefix_each(open_store: Any) -> None:
    one = RedisKit.at(open_store(server().url, prefix="site-one"))
    other = RedisKit.at(open_store(server().url, prefix="site-two"))
    one.push("one")
    other.push("other")
    assert (one.drain(), other.drain()) == (["one"], ["other"])


def test_a_unix_socket_serves_as_well(own_server: Start, open_store: Any, tmp_path: Path) -> None:
    path = f"/tmp/graceful-{os.getpid()}-{socket.gethostname()[:8]}.sock"
    running = own_server("--unixsocket", path)
    kit = RedisKit.at(open_store(f"unix://{path}"))
    kit.push("x")
    assert kit.drain() == ["x"]
    running.kill()
    with pytest.raises(StoreUnavailable, match=path):
        kit.push("y")
