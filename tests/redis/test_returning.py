"""What an owner does when it comes back to a server: its own leases first, others' in good time, and what is gone is
gone (P2, P8).
"""

from __future__ import annotations

import logging
from typing import Any

import pytest

from django_graceful.exceptions import StoreUnavailable
from django_graceful.items import State
from django_graceful.stores.base import Progress
from django_graceful.stores.redis import generation
from django_graceful.stores.redis import owner as owning
from django_graceful.stores.redis.owner import RedisOwner
from tests.redis.kit import RedisKit


def away(*args: Any) -> Any:
    raise StoreUnavailable("away")


@pytest.fixture
def other(kit: RedisKit) -> RedisOwner:
    """A second runner of the same store, in whose loop nothing was done yet."""
    kit.store._clock = kit.clock
    return kit.store.own_later("another seat", {}, 3)


def cut_off(owner: RedisOwner, monkeypatch: pytest.MonkeyPatch) -> None:
    """One turn of that owner in which the server was away."""
    with monkeypatch.context() as patch:
        patch.setattr(owner._lanes, "prepare", away)
        with pytest.raises(StoreUnavailable):
            owner.prepare()


def test_after_an_outage_nobody_is_rescued_before_he_could_renew(
    kit: RedisKit, other: RedisOwner, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit.push(1)
    lease = kit.take()
    kit.clock.now += owning.LEASE_SECONDS + 10
    cut_off(other, monkeypatch)
    other.prepare()
    assert other.ready() == {}, "it has only just come back, as may the owner of that lease"
    assert kit.owner.renew([lease.execution]) == set()
    monkeypatch.setattr(other, "_truce", 0.0)
    other.prepare()
    assert kit.owner.finish([lease.execution]) == set()


def test_when_the_truce_is_over_what_ran_out_is_rescued(
    kit: RedisKit, other: RedisOwner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owning, "TRUCE", 0.0)
    kit.push(1)
    lease = kit.take()
    kit.clock.now += owning.LEASE_SECONDS + 1
    cut_off(other, monkeypatch)
    other.prepare()
    assert other.ready() == {"q": 1}
    assert kit.owner.finish([lease.execution]) == {lease.execution}


def test_without_an_outage_there_is_no_truce(kit: RedisKit, other: RedisOwner) -> None:
    kit.push(1)
    kit.take()
    other.prepare()
    kit.clock.now += owning.LEASE_SECONDS + 1
    assert other.prepare()
    assert other.ready() == {"q": 1}
    assert any("leases ran out" in notice for notice in other.notices)


def test_an_owner_that_is_made_while_the_server_is_away_begins_with_its_first_step(kit: RedisKit) -> None:
    kit.push(1, 2, 3)
    first, second, third = kit.lease(3)
    late = kit.store.own_later(
        "a new seat", {"the only one": {"w1": Progress(second.execution, first.execution)}.get}, 3
    )
    late.prepare()
    assert late.ready() == {"q": 2}
    assert kit.owner.finish([first.execution, second.execution, third.execution]) == {
        first.execution,
        second.execution,
        third.execution,
    }
    counts = late.counts()["q"]
    assert (counts.done, counts.waiting) == (1, 2)
    assert [found.item.crashes for found in late.page("q", State.WAITING).items] == [1, 0]
    assert late.notices == ["leased by w1, which is gone: 1 done, 1 crashed, 1 not started"]


def test_an_emptied_database_is_noticed_by_everybody_once(
    kit: RedisKit, other: RedisOwner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(generation, "EVERY", 0.0)
    kit.push(1, 2)
    lease = kit.take()
    for owner in (kit.owner, other):
        owner.prepare()
        owner.prepare()
    assert caplog.text == ""
    for key in kit.store.line.client.keys("*" + kit.space + "*"):
        kit.store.line.client.delete(key)
    with caplog.at_level(logging.CRITICAL):
        for owner in (kit.owner, other):
            owner.prepare()
            owner.prepare()
            assert owner.ready() == {}
    assert caplog.text.count("the queues are gone") == 2
    assert kit.owner.renew([lease.execution]) == {lease.execution}
    kit.push(3)
    assert kit.drain() == [3]
    assert kit.owner.check() == []


def test_a_later_format_is_refused_also_when_it_comes_with_a_new_database(
    kit: RedisKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation, "EVERY", 0.0)
    kit.owner.prepare()
    client = kit.store.line.client
    client.set(f"{kit.store.line.space}:format", 99)
    client.set(f"{kit.store.line.space}:generation", "another")
    with pytest.raises(Exception, match="format 99"):
        kit.owner.prepare()


def test_the_runner_learns_how_often_to_renew(kit: RedisKit) -> None:
    assert kit.owner.renew_every * 3 < owning.LEASE_SECONDS
    assert kit.owner.remote
