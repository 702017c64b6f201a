"""A runner that waits is woken, by whatever there is to do, and finds its way back to the calls after an outage."""

from __future__ import annotations

import logging
import select
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from redis.exceptions import ConnectionError as BrokenConnection

from django_graceful.exceptions import StoreUnavailable
from django_graceful.items import UNIQUE, Outcome
from django_graceful.stores.redis import lanes
from django_graceful.stores.redis.lanes import STALE
from django_graceful.stores.redis.owner import RedisOwner
from tests.redis.kit import RedisKit, add_cache, cache_setting, server
from tests.redis.server import Server, until
from tests.stores.kit import payload

Owner = RedisOwner


@pytest.fixture
def sleeper(kit: RedisKit) -> Iterator[Owner]:
    """A runner with nothing to do."""
    kit.store.line._clock = None
    found = kit.store.own(seat="sleeper")
    assert isinstance(found, RedisOwner)
    settle(found)
    yield found
    found.close()


def settle(owner: Owner) -> None:
    """Until it hears, and has nothing to do."""
    assert owner.wake_socket() is not None
    assert owner._listener is not None
    until(lambda: owner._listener is not None and owner._listener.listening)
    while owner.prepare() or not owner.about_to_sleep():
        pass


def wakes(owner: Owner, seconds: float = 10) -> bool:
    """Whether it is woken; with time for the slowest machine."""
    return bool(select.select([owner.wake_socket()], [], [], seconds)[0])


def payloads(owner: Owner, queue: str = "q") -> list[Any]:
    return [payload(lease) for lease in owner.lease(queue, 9, "w1")]


def push(kit: RedisKit, **fields: Any) -> None:
    kit.clock.now = kit.store.line.now() / 1e6
    kit.store.push("q", [kit.record("x", **fields)])


def test_a_push_wakes(kit: RedisKit, sleeper: Owner) -> None:
    for _ in range(3):
        push(kit)
        assert wakes(sleeper)
        assert not sleeper.about_to_sleep()
        sleeper.prepare()
        assert sleeper.about_to_sleep()
        assert payloads(sleeper) == ["x"]


def test_a_push_to_a_queue_that_was_never_seen_wakes(kit: RedisKit, sleeper: Owner) -> None:
    kit.store.push("new", [kit.record("y")])
    assert wakes(sleeper)
    sleeper.prepare()
    assert payloads(sleeper, "new") == ["y"]


def test_a_push_behind_others_calls_nobody(kit: RedisKit, sleeper: Owner) -> None:
    push(kit)
    assert wakes(sleeper)
    sleeper.prepare()
    push(kit)
    push(kit, priority=7)
    push(kit, key="k", flags=UNIQUE)
    push(kit, delay=1000)  # earlier than any other: this one does
    assert wakes(sleeper)
    sleeper.prepare()
    push(kit, delay=2000)
    assert not wakes(sleeper, 0.2)


def test_an_earlier_delay_is_known_at_once(kit: RedisKit, sleeper: Owner) -> None:
    push(kit, delay=1000)
    assert wakes(sleeper)
    sleeper.prepare()
    late = sleeper.next_due() or 0
    push(kit, delay=500)
    assert wakes(sleeper)
    sleeper.prepare()
    assert 499 < late - (sleeper.next_due() or 0) < 501


@pytest.mark.parametrize("outcome", [None, Outcome.INTERRUPTED])
def test_what_another_gives_back_wakes(kit: RedisKit, sleeper: Owner, outcome: Outcome | None) -> None:
    push(kit)
    assert wakes(sleeper)
    lease = kit.take()
    sleeper.prepare()
    assert sleeper.ready() == {}
    if outcome is None:
        kit.owner.release([lease.execution])
    else:
        kit.end(lease, outcome)
    assert wakes(sleeper)
    sleeper.prepare()
    assert payloads(sleeper) == ["x"]


def test_a_key_that_is_free_again_wakes(kit: RedisKit, sleeper: Owner) -> None:
    push(kit, key="k", flags=UNIQUE)
    lease = kit.take()
    push(kit, key="k", flags=UNIQUE)
    settle(sleeper)
    assert payloads(sleeper) == []
    settle(sleeper)
    kit.done(lease)
    assert wakes(sleeper)
    sleeper.prepare()
    assert payloads(sleeper) == ["x"]


def test_a_retry_of_people_and_a_resumed_queue_wake(kit: RedisKit, sleeper: Owner) -> None:
    push(kit)
    kit.end(kit.take(), Outcome.DEAD)
    settle(sleeper)
    kit.owner.retry("q")
    assert wakes(sleeper)
    kit.owner.pause("q")
    settle(sleeper)
    assert sleeper.ready() == {}
    kit.owner.resume("q")
    assert wakes(sleeper)
    sleeper.prepare()
    assert payloads(sleeper) == ["x"]


def test_a_cancel_of_what_it_runs_wakes(kit: RedisKit, sleeper: Owner) -> None:
    push(kit)
    settle(sleeper)
    (lease,) = sleeper.lease("q", 1, "w1")
    settle(sleeper)
    kit.owner.cancel_all("q", by="eve")
    assert wakes(sleeper)
    sleeper.prepare()
    assert [wish.execution for wish in sleeper.wishes()] == [lease.execution]


def test_a_call_that_got_lost_costs_a_second(kit: RedisKit, sleeper: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = time.monotonic()
    monkeypatch.setattr(lanes, "time", SimpleNamespace(monotonic=lambda: moment, time=time.time))
    settle(sleeper)
    monkeypatch.setattr(kit.store.line, "channel", "nobody hears that")
    push(kit)
    moment += STALE / 2
    sleeper.prepare()
    assert sleeper.ready() == {}
    moment += STALE / 2
    sleeper.prepare()
    assert sleeper.ready() == {"q": 1}


def test_an_idle_runner_asks_the_server_nothing_between(sleeper: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = time.monotonic()
    monkeypatch.setattr(lanes, "time", SimpleNamespace(monotonic=lambda: moment, time=time.time))
    settle(sleeper)
    with server().client() as client:
        before = client.info("stats")["total_commands_processed"]
        for _ in range(100):
            sleeper.prepare()
            assert (sleeper.ready(), sleeper.next_due(), sleeper.wishes()) == ({}, None, [])
            assert sleeper.about_to_sleep()
        assert client.info("stats")["total_commands_processed"] - before < 20  # other tests' connections ping


@pytest.mark.process
def test_after_an_outage_calls_are_heard_again_and_what_was_missed_is_found(
    own_server: Callable[..., Server], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "django_graceful")
    running = own_server("--appendonly", "yes")
    add_cache("outage", cache_setting(running.url))
    from django_graceful.conf import StoreConf
    from django_graceful.stores.redis import RedisStore

    kit = RedisKit.at(RedisStore(StoreConf("default", "redis", cache="outage")))
    owner = kit.owner
    try:
        settle(owner)
        running.kill()
        until(lambda: "calls can not be heard" in caplog.text)
        running.start()
        kit.push("while it was deaf")
        assert wakes(owner)
        settle(owner)
        assert payloads(owner) == ["while it was deaf"]
        kit.push("heard")
        assert wakes(owner)
        assert caplog.text.count("calls can not be heard") == 1
    finally:
        owner.close()


def test_a_subscription_that_is_silently_dead_is_given_up(
    kit: RedisKit, sleeper: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No ping is answered, as on a connection of which the other end is gone."""
    monkeypatch.setattr("django_graceful.stores.redis.hearing._PING", 0.3)
    monkeypatch.setattr("django_graceful.stores.redis.hearing._LOOK", 0.1)
    monkeypatch.setattr("redis.client.PubSub.ping", lambda self: None)
    listener = sleeper._listener
    assert listener is not None
    listener._told = False
    until(lambda: listener._told)
    until(lambda: listener.listening)
    push(kit)
    assert wakes(sleeper)


def test_closing_is_quick_and_leaves_no_thread_and_no_socket(kit: RedisKit) -> None:
    tasks = Path("/proc/self/task")
    before = len(list(tasks.iterdir())), threading.active_count()
    for number in range(3):
        owner = kit.store.own(seat=f"seat {number}")
        assert isinstance(owner, RedisOwner)
        wake = owner.wake_socket()
        settle(owner)
        owner.close()
        assert wake is not None
        assert wake.fileno() == -1
    until(lambda: (len(list(tasks.iterdir())), threading.active_count()) == before)


def test_a_call_that_was_heard_during_an_outage_is_not_forgotten(
    kit: RedisKit, sleeper: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = time.monotonic()
    monkeypatch.setattr(lanes, "time", SimpleNamespace(monotonic=lambda: moment, time=time.time))
    settle(sleeper)
    push(kit)
    assert wakes(sleeper)
    with monkeypatch.context() as patch:
        patch.setattr("django_graceful.stores.redis.line.call", _fail)
        with pytest.raises(StoreUnavailable):
            sleeper.prepare()
    sleeper.prepare()
    assert payloads(sleeper) == ["x"]


def _fail(*args: Any) -> None:
    raise BrokenConnection("gone")
