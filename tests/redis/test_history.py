"""A recorded history of three owners and two producers behind networks that break: each item ends once, none is lost,
and whoever lost a lease can not end anything (P1, P2, P8).
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import pytest

from django_graceful.exceptions import StoreUnavailable
from django_graceful.stores.redis import owner as owning
from django_graceful.stores.redis import store as storing
from tests.control.records import record
from tests.redis.proxy import Proxy
from tests.redis.pushing import desk, opened
from tests.redis.server import Server
from tests.redis.site import RedisSite

SECONDS = float(os.environ.get("GRACEFUL_TEST_SECONDS", "8"))
SEED = int(os.environ.get("GRACEFUL_TEST_SEED", random.randrange(1 << 30)))


class History:
    """What happened, as those saw it who did it."""

    def __init__(self) -> None:
        self.pushed: set[str] = set()
        self.leased: list[tuple[int, str]] = []
        #: By item: how often its end was confirmed, and how often nobody can say (the answer was lost).
        self.ended: Counter[str] = Counter()
        self.unsure: Counter[str] = Counter()
        self.refused = 0
        self.over = threading.Event()
        self.faults: list[BaseException] = []

    @property
    def again(self) -> bool:
        """Whether some lease has run out: its item was leased again."""
        leased = list(self.leased)
        return len({item for _, item in leased}) < len(leased)


def produce(history: History, site: RedisSite, url: str) -> None:
    with opened(site, url) as store:
        while not history.over.is_set():
            # (Pushed again after its answer was lost, an item that is done already would be a new one.)
            try:
                (item_id,) = store.push("q", [record()])
            except StoreUnavailable:
                history.over.wait(0.05)
                continue
            history.pushed.add(item_id.hex())
            time.sleep(0.02)


def work(history: History, site: RedisSite, url: str, name: str, chance: random.Random, done: threading.Event) -> None:
    with opened(site, url) as store:
        owner = store.own_later(name, {}, 1000)
        held: dict[int, str] = {}
        while not done.is_set():
            try:
                if held:
                    for lost in owner.renew(list(held)):
                        if history.unsure[held[lost]] == 0:
                            history.refused += 1
                        del held[lost]
                owner.prepare()
                for lease in owner.lease("q", chance.randrange(1, 8), "w"):
                    item = lease.record[30:46].hex()
                    history.leased.append((lease.execution, item))
                    held[lease.execution] = item
            except StoreUnavailable:
                continue
            for execution in [execution for execution in held if chance.random() < 0.1]:
                end(history, owner, execution, held)
        owner.close()


def end(history: History, owner: owning.RedisOwner, execution: int, held: dict[int, str]) -> None:
    item = held[execution]
    try:
        refused = owner.finish([execution])
    except StoreUnavailable:
        history.unsure[item] += 1
        return
    del held[execution]
    if refused:
        history.refused += 1
    else:
        history.ended[item] += 1


def guarded(history: History, act: Callable[..., None], *args: object) -> threading.Thread:
    def run() -> None:
        try:
            act(history, *args)
        except BaseException as error:
            history.faults.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases run out while a network is broken."""
    monkeypatch.setattr(owning, "LEASE_SECONDS", 0.8)
    monkeypatch.setattr(owning, "TRUCE", 0.3)
    monkeypatch.setattr(storing, "TIMEOUT", 0.4)


@pytest.mark.process
@pytest.mark.timeout(120)
@pytest.mark.usefixtures("hasty")
def test_each_item_ends_once_and_none_is_lost(
    redis_site: Callable[..., RedisSite], own_server: Callable[..., Server], proxied: Callable[[Server], Proxy]
) -> None:
    running = own_server()
    site, chance = redis_site(running.url), random.Random(SEED)
    ways = [proxied(running) for _ in range(5)]
    history, done = History(), threading.Event()
    producers = [guarded(history, produce, site, way.url) for way in ways[:2]]
    owners = [
        guarded(history, work, site, way.url, f"seat{n}", random.Random(SEED + n), done)
        for n, way in enumerate(ways[2:])
    ]
    until = time.monotonic() + SECONDS
    while not history.faults and (time.monotonic() < until or not history.again):
        way = chance.choice(ways)
        chance.choice(
            [way.cut, way.freeze, lambda way=way: way.freeze(back=False), lambda way=way: way.freeze(there=False)]
        )()
        time.sleep(chance.uniform(0.05, 1.6))
        way.heal()
    history.over.set()
    for thread in producers:
        thread.join()
    with desk(site) as admin:
        deadline = time.monotonic() + 30
        with suppress(StoreUnavailable):
            while (found := admin.counts()["q"]).waiting + found.running and time.monotonic() < deadline:
                time.sleep(0.05)
        done.set()
        for thread in owners:
            thread.join()
        counts = admin.counts()["q"]
        assert admin.check() == []
    story = f"seed {SEED}: {counts}, {len(history.leased)} leases, {history.refused} refused"
    print(story)
    assert not history.faults, f"{story}: {history.faults}"
    assert (counts.waiting, counts.running, counts.dead) == (0, 0, 0), story
    assert counts.done == counts.pushed >= len(history.pushed) > 50, story
    executions = [execution for execution, _ in history.leased]
    assert len(set(executions)) == len(executions), story
    assert not [item for item, times in history.ended.items() if times > 1], story
    lost = {item for item in history.pushed if not history.ended[item] and not history.unsure[item]}
    assert not lost, f"{story}: {lost}"
