"""``move``: everything from one store to another, when a site changes its store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import CommandError, CommandParser

from django_graceful.conf import get_conf
from django_graceful.console.desks import Desks, nearest
from django_graceful.console.report import Look, Report, Subcommand
from django_graceful.console.tables import Column, render
from django_graceful.console.text import plural
from django_graceful.items import State
from django_graceful.stores import get_store
from django_graceful.stores.base import StoreOwner
from django_graceful.stores.leveldb.store import LevelDBStore
from django_graceful.stores.moving import move
from django_graceful.stores.redis import RedisStore

KEYS = """\
from, to: the stores
queues: a list of objects: queue, how many were moved that were waiting, scheduled, retrying, dead, cancelled, and
  merged: how many of these have gone, because an item with their unique key was in the new store
left: how many items are still in the old store"""
_MOVED = (State.WAITING, State.SCHEDULED, State.RETRYING, State.DEAD, State.CANCELLED)
#: Seconds that leases of dead runners may take to run out, and between two looks.
_LEASES, _PAUSE = 20.0, 0.2


def _arguments(parser: CommandParser) -> None:
    parser.add_argument("--from", required=True, metavar="ALIAS", help="the store that is emptied; no runner may run")
    parser.add_argument("--to", required=True, metavar="ALIAS", help="the store that gets everything")


def run_move(desks: Desks, options: dict[str, Any], look: Look) -> Report:
    """Move all items; said again, it goes on where it was interrupted."""
    old, new = (_alias(options[name]) for name in ("from", "to"))
    if old == new:
        raise CommandError("--from and --to are the same store")
    with _owned(old, emptied=True) as source, _owned(new, emptied=False) as target:
        queues = [_move(source, target, queue, look) for queue in source.counts()]
        left = sum(_held(source, queue) for queue in source.counts())
    columns = [Column("QUEUE", gives=True), *(Column(state.upper(), right=True) for state in (*_MOVED, "merged"))]
    rows = [[queue["queue"], *(str(queue[key]) for key in (*map(str, _MOVED), "merged"))] for queue in queues]
    failure = f"{plural(left, 'item')} are still in store {old}: say it again" if left else ""
    text = render(columns, rows, look.screen, look.heading) if rows else f"There is nothing in store {old}."
    return Report({"from": old, "to": new, "queues": queues, "left": left}, text, failure)


def _alias(alias: str) -> str:
    stores = get_conf().stores
    if alias not in stores:
        raise CommandError(f"no store is named {alias!r}{nearest(alias, stores)}; there are: {', '.join(stores)}")
    if stores[alias].backend == "memory":
        raise CommandError(f"store {alias} is in the memory of each process: nothing can be moved from or to it")
    return alias


def _move(source: StoreOwner, target: StoreOwner, queue: str, look: Look) -> dict[str, Any]:
    moved, merged = move(source, target, queue, lambda number: look.say(f"{queue}: {plural(number, 'item')} moved"))
    return {"queue": queue, **{str(state): moved[state] for state in _MOVED}, "merged": merged}


def _held(source: StoreOwner, queue: str) -> int:
    counts = source.counts()[queue]
    return sum((counts.running, *(getattr(counts, state) for state in _MOVED)))


@contextmanager
def _owned(alias: str, *, emptied: bool) -> Iterator[StoreOwner]:
    """Own that store for so long. Of a redis store that is emptied no runner may live, and nothing be leased."""
    store = get_store(alias)
    if isinstance(store, LevelDBStore):
        owner = store.own_as_tool()
    else:
        assert isinstance(store, RedisStore)
        if emptied:
            _refuse_runners(alias, store)
        owner = store.own()
    try:
        if emptied:
            _await_leases(alias, owner)
        yield owner
    finally:
        owner.close()


def _refuse_runners(alias: str, store: RedisStore) -> None:
    runners = [node for node in store.exchange().nodes() if node.get("kind") == "runner"]
    if runners:
        named = ", ".join(f"pid {node['pid']} on {node['host']}" for node in runners)
        raise CommandError(f"store {alias} has runners ({named}): stop them first, with manage.py graceful shutdown")


def _await_leases(alias: str, owner: StoreOwner) -> None:
    """What dead runners had comes back when their leases run out."""
    deadline = time.monotonic() + _LEASES
    while True:
        while owner.prepare():
            pass
        if not any(counts.running for counts in owner.counts().values()):
            return
        if time.monotonic() > deadline:
            raise CommandError(f"store {alias} has items that run: stop its runners first")
        time.sleep(_PAUSE)


MOVE = Subcommand("move everything from one store to another", KEYS, run_move, _arguments)
