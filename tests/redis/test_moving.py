"""``graceful move``: everything goes to the other store, once, whoever is killed in between (P1, P7)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from django_graceful.exceptions import StoreUnavailable
from django_graceful.items import OUTBOX, UNIQUE, Outcome, State, encode_record, new_id
from django_graceful.stores import get_store
from django_graceful.stores.base import Ending, StoreOwner
from django_graceful.stores.leveldb.store import LevelDBStore
from django_graceful.stores.moving import STRETCH, move
from tests.redis.kit import add_cache, cache_setting, server
from tests.redis.site import RedisSite

STATES = [state for state in State if state is not State.RUNNING]


@pytest.fixture
def stores(tmp_path: Path, settings: Any) -> Iterator[None]:
    """``default`` is a LevelDB, ``redis`` a redis store, both empty."""
    alias = f"queues-{tmp_path.name}"
    add_cache(alias, cache_setting(server().url, f"moving{tmp_path.parent.name}{tmp_path.name}"))
    settings.GRACEFUL = {
        "STORES": {
            "default": {"BACKEND": "leveldb", "PATH": tmp_path / "store"},
            "redis": {"BACKEND": "redis", "ALIAS": alias, "RUNTIME": tmp_path / "runtime"},
            "memory": {"BACKEND": "memory"},
        }
    }
    yield
    get_store("redis").close()


def own(alias: str) -> StoreOwner:
    store = get_store(alias)
    return store.own_as_tool() if isinstance(store, LevelDBStore) else store.own()


def record(payload: Any, **fields: Any) -> bytes:
    return encode_record(new_id(), json.dumps(payload).encode(), pushed_at=1_700_000_000_000_000, **fields)


def fill(alias: str) -> None:
    """Something of every state, in two queues, one of them paused."""
    owner = own(alias)
    owner.push("q", [record("dies"), record("is cancelled"), record("fails"), b"\x07 unreadable"])
    dies, cancelled, fails = owner.lease("q", 3, "w")
    error = {"type": "ValueError", "message": "no", "traceback": "…"}
    owner.finish(
        (),
        [
            Ending(dies.execution, Outcome.DEAD, error=error, reason="broken"),
            Ending(cancelled.execution, Outcome.CANCELLED, by="me", reason="no need"),
            Ending(fails.execution, Outcome.RETRY, delay=3600, error=error),
        ],
    )
    owner.push("q", [record(1), record(2), record(3, priority=5), record("later", not_before=4_000_000_000_000_000)])
    owner.push("unique", [record("u", key="k", flags=UNIQUE)])
    owner.pause("unique")
    owner.close()


def everything(alias: str) -> dict[str, Any]:
    """All that can be seen of what is in a store."""
    owner = own(alias)
    try:
        return {
            f"{queue} {state}": [(found.item, found.detail) for found in owner.page(queue, state).items]
            for queue in ("q", "unique")
            for state in STATES
        } | {"paused": [name for name, counts in owner.counts().items() if counts.paused]}
    finally:
        owner.close()


def run(*args: str) -> dict[str, Any]:
    out = StringIO()
    call_command("graceful", "move", *args, "--json", stdout=out, stderr=StringIO())
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


@pytest.mark.parametrize(("old", "new"), [("default", "redis"), ("redis", "default")])
@pytest.mark.usefixtures("stores")
def test_everything_goes_along_as_it_was(old: str, new: str) -> None:
    fill(old)
    before = everything(old)
    report = run("--from", old, "--to", new)
    assert report["left"] == 0
    first = {"waiting": 3, "scheduled": 1, "retrying": 1, "dead": 2, "cancelled": 1, "merged": 0}
    assert report["queues"][0] == {"queue": "q"} | first
    assert everything(new) == before
    assert not any(items for name, items in everything(old).items() if name != "paused")
    target = own(new)
    assert target.check() == []
    assert target.has("unique", "k")
    assert target.lease("unique", 1, "w") == [], "it is paused there, too"
    counts = target.counts()["q"]
    assert (counts.pushed, counts.died, counts.stopped) == (8, 2, 1)
    assert target.retry("q") == 1, "what can not be read stays dead"
    target.close()


@pytest.mark.usefixtures("stores")
def test_there_and_back_again_nothing_has_changed() -> None:
    fill("default")
    before = everything("default")
    run("--from", "default", "--to", "redis")
    run("--from", "redis", "--to", "default")
    assert everything("default") == before


@pytest.mark.usefixtures("stores")
def test_what_came_from_an_outbox_moves_back_to_a_store_that_knows_it() -> None:
    owner = own("default")
    owner.push("q", [record("x", flags=OUTBOX)])
    owner.close()
    run("--from", "default", "--to", "redis")
    run("--from", "redis", "--to", "default")
    owner = own("default")
    assert [lease.record[-3:] for lease in owner.lease("q", 9, "w")] == [b'"x"']
    owner.close()


@pytest.mark.parametrize("after", ["push", "set_aside", "discard"])
@pytest.mark.parametrize(("old", "new"), [("default", "redis"), ("redis", "default")])
@pytest.mark.usefixtures("stores")
def test_killed_at_any_step_and_said_again_it_moves_each_item_once(
    old: str, new: str, after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(old)
    before = everything(old)
    source, target = own(old), own(new)
    victim = source if after == "discard" else target
    step = getattr(victim, after)

    def dies(*args: Any) -> Any:
        step(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(victim, after, dies)
    with pytest.raises(KeyboardInterrupt):
        move(source, target, "q", lambda number: None)
    source.close()
    target.close()
    assert run("--from", old, "--to", new)["left"] == 0
    assert everything(new) == before
    owner = own(new)
    assert owner.check() == []
    owner.close()


@pytest.mark.usefixtures("stores")
def test_more_than_a_stretch_keeps_its_order() -> None:
    owner = own("default")
    owner.push("q", [record(n) for n in range(STRETCH + 10)])
    owner.close()
    assert run("--from", "default", "--to", "redis")["queues"][0]["waiting"] == STRETCH + 10
    target = own("redis")
    leases = target.lease("q", STRETCH + 10, "w")
    assert [int(lease.record[46:]) for lease in leases] == list(range(STRETCH + 10))
    target.close()


@pytest.mark.usefixtures("stores")
def test_an_item_whose_unique_key_is_taken_there_is_merged_and_counted() -> None:
    for alias in ("default", "redis"):
        owner = own(alias)
        owner.push("unique", [record(alias, key="k", flags=UNIQUE)])
        owner.close()
    assert run("--from", "default", "--to", "redis")["queues"][0]["merged"] == 1
    target = own("redis")
    assert [found.item.payload for found in target.page("unique", State.WAITING).items] == ["redis"]
    target.close()


@pytest.mark.usefixtures("stores")
def test_stores_that_make_no_sense_are_refused() -> None:
    for args, text in (
        (("--from", "default", "--to", "default"), "the same store"),
        (("--from", "defualt", "--to", "redis"), "did you mean 'default'"),
        (("--from", "memory", "--to", "redis"), "in the memory"),
    ):
        with pytest.raises(CommandError, match=text):
            run(*args)


@pytest.mark.usefixtures("stores")
def test_a_server_that_goes_away_in_between_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    fill("default")
    before = everything("default")
    source, target = own("default"), own("redis")

    def away(*args: Any) -> Any:
        raise StoreUnavailable("away")

    monkeypatch.setattr(target, "push", away)
    with pytest.raises(StoreUnavailable):
        move(source, target, "q", lambda number: None)
    source.close()
    target.close()
    assert everything("default") == before


@pytest.mark.process
def test_no_runner_may_run_on_the_store_that_is_emptied(
    redis_site: Callable[..., RedisSite], settings: Any, tmp_path: Path
) -> None:
    site = redis_site()
    runner = site.runner().serving()
    alias = f"queues-{site.space}"
    add_cache(alias, cache_setting(site.url, site.space))
    settings.GRACEFUL = {
        "STORES": {
            "default": {"BACKEND": "redis", "ALIAS": alias, "RUNTIME": site.store},
            "new": {"BACKEND": "leveldb", "PATH": tmp_path / "new"},
        }
    }
    with pytest.raises(CommandError, match=f"has runners \\(pid {runner.pid} on "):
        run("--from", "default", "--to", "new")
    assert runner.stop() == 0
    assert run("--from", "default", "--to", "new")["left"] == 0
