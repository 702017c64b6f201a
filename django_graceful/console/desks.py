"""The stores that a sub-command works on: which there are, who answers for each, and which of them has a queue.

With a runner its control socket is asked; without one the store is opened here, once for the whole sub-command, and
closed at its end. Stores in the memory of the web processes have nothing to show here, which is said.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import ExitStack
from difflib import get_close_matches
from types import TracebackType
from typing import Any, Self, cast

from django.core.management.base import CommandError

from django_graceful.conf import get_conf
from django_graceful.queues import all_queues
from django_graceful.runner import seats
from django_graceful.stores import get_store
from django_graceful.stores.base import Counts, Found, StoreAdmin
from django_graceful.stores.leveldb.control import ControlClient, NoRunner
from django_graceful.stores.leveldb.store import LevelDBStore
from django_graceful.stores.redis import RedisStore


class Desks:
    """The desks of all stores, or of the one named. A context manager: what it opened is closed at the end."""

    def __init__(self, only: str | None = None) -> None:
        stores = get_conf().stores
        if only is not None and only not in stores:
            raise CommandError(f"no store is named {only!r}{nearest(only, stores)}; there are: {', '.join(stores)}")
        chosen = [only] if only is not None else list(stores)
        in_memory = [alias for alias in chosen if stores[alias].backend == "memory"]
        #: Remarks for people, on what is left out and why.
        self.notes = [f"store {alias} lives in the memory of each process: nothing to see here" for alias in in_memory]
        self.aliases = [alias for alias in chosen if alias not in in_memory]
        self._open: dict[str, StoreAdmin] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close what is open; the next question opens it again."""
        self._open.clear()
        self._stack.close()

    def desk(self, alias: str) -> StoreAdmin:
        """Who answers for that store. Raises :class:`~django_graceful.exceptions.StoreUnavailable`."""
        if alias not in self._open:
            self._open[alias] = self._stack.enter_context(get_store(alias).admin(alone=True))
        return self._open[alias]

    def backlog(self, alias: str) -> int:
        """How many bytes were pushed on this host that no runner and no server has yet."""
        return cast(LevelDBStore | RedisStore, get_store(alias)).backlog()

    def controls(self, alias: str) -> list[ControlClient]:
        """The control sockets of that store on this host; not all of them need be served."""
        store = get_store(alias)
        if isinstance(store, LevelDBStore):
            return [store.client]
        return [ControlClient(path) for path in sorted(seats.all_below(get_conf().stores[alias].path))]

    def runners(self, alias: str) -> list[dict[str, Any]]:
        """What each runner of that store, on whichever host, says of itself."""
        store = get_store(alias)
        if isinstance(store, LevelDBStore):
            try:
                return [cast(dict[str, Any], store.client.ask("runner_status"))]
            except NoRunner:
                return []
        nodes = [node for node in store.exchange().nodes() if node.get("kind") == "runner" and not node.get("silent")]
        return [node_status(node) for node in sorted(nodes, key=lambda node: float(node["since"]))]

    def counts(self, alias: str) -> dict[str, Counts]:
        """Every queue that the store has seen or that the code declares for it, by name, in the order of the names."""
        found = self.desk(alias).counts()
        declared = {name: Counts() for name, queue in all_queues().items() if queue.options.store == alias}
        return dict(sorted((declared | found).items()))

    def having(self, queue: str) -> list[str]:
        """The stores that have that queue, or for which it is declared. Raises ``CommandError`` when none does."""
        found = [alias for alias in self.aliases if queue in self.counts(alias)]
        if not found:
            known = {name for alias in self.aliases for name in self.counts(alias)}
            raise CommandError(f"no queue is named {queue!r}{nearest(queue, known)}; see: manage.py graceful queues")
        return found

    def find(self, item_id: str) -> tuple[str, Found] | None:
        """The item of that id and its store; None when no store knows it."""
        for alias in self.aliases:
            found = self.desk(alias).get(item_id)
            if found is not None:
                return alias, found
        return None


def node_status(node: dict[str, Any]) -> dict[str, Any]:
    """A runner's status, from what it publishes as a node."""
    running = [
        {key: row[key] for key in ("queue", "item", "items", "execution", "pid")}
        | {"seconds": round(max(0.0, time.time() - row["since"]), 3)}
        for row in node["processes"]
        if row["kind"] == "job"
    ]
    known = {key: node[key] for key in ("pid", "phase", "since", "hammer_in", "workers", "host")}
    return known | {"running": running}


def nearest(word: str, known: Iterable[str]) -> str:
    """`` (did you mean …?)``, or nothing when no known word is near."""
    found = get_close_matches(word, list(known), n=1)
    return f" (did you mean {found[0]!r}?)" if found else ""
