"""Asking all stores and their nodes at the same time, for less than a second, whatever becomes of them.

Each question has a daemon thread of its own. Whoever has not answered by then is left out, and its thread ends with the
time limit of its own question. Opens no store: with no runner, the processes that do not own a LevelDB store read from
its files how much waits.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

from django_graceful.conf import get_conf
from django_graceful.exceptions import StoreError
from django_graceful.nodes.view import sound
from django_graceful.queues import all_queues
from django_graceful.stores import get_store
from django_graceful.stores.base import Counts
from django_graceful.stores.leveldb.control import ControlClient
from django_graceful.stores.leveldb.store import LevelDBStore
from django_graceful.stores.redis import RedisStore

logger = logging.getLogger("django_graceful.metrics")

#: Seconds for all answers, and for that of the owner of a LevelDB store.
LIMIT = 0.8
_OWNER = 0.6

Json = dict[str, Any]
Answer = TypeVar("Answer")


@dataclass(slots=True, frozen=True)
class Seen:
    """One store, as far as it could be looked at in time."""

    alias: str
    #: By queue; None: nobody answered who knows.
    counts: Mapping[str, Counts] | None = None
    #: Without ``counts``: how many wait in each queue, where that can be told without them.
    waiting: Mapping[str, int] | None = None
    #: Bytes pushed on this host that no runner and no server has yet.
    backlog: int | None = None
    #: What each node publishes of itself; None: they could not be asked.
    nodes: list[Json] | None = None


def look(aliases: Iterable[str] | None = None, counts: Mapping[str, Mapping[str, Counts]] | None = None) -> list[Seen]:
    """These stores (None: all), in their order, without those that live in the memory of single processes.

    ``counts`` are those of stores that the caller has open already; they are not asked again. Takes :data:`LIMIT`
    seconds at most and raises nothing that a store does.
    """
    stores, known = get_conf().stores, counts or {}
    chosen = [alias for alias in (stores if aliases is None else aliases) if stores[alias].backend != "memory"]
    questions: dict[tuple[str, str], Callable[[], Any]] = {}
    for alias in chosen:
        store = cast(LevelDBStore | RedisStore, get_store(alias))
        questions[alias, "nodes"] = partial(_nodes, store)
        questions[alias, "backlog"] = store.backlog
        if alias not in known:
            questions[alias, "counts"] = partial(_counts, store)
            if isinstance(store, LevelDBStore):
                questions[alias, "waiting"] = partial(store.waiting, _declared(alias))
    found = ask_all(questions, LIMIT)
    for alias, counted in known.items():
        found[alias, "counts"] = counted
    fields = ("counts", "waiting", "backlog", "nodes")
    return [Seen(alias, **{field: found.get((alias, field)) for field in fields}) for alias in chosen]


def ask_all(questions: Mapping[Any, Callable[[], Answer]], seconds: float) -> dict[Any, Answer]:
    """The answers that came in that time, by the names of their questions. An error is no answer."""
    answers: dict[Any, Answer] = {}

    def ask(name: Any, question: Callable[[], Answer]) -> None:
        try:
            answers[name] = question()
        except (StoreError, OSError) as error:
            logger.debug("%s: %s", name, error)
        except Exception:
            logger.exception("%s could not be asked", name)

    threads = [threading.Thread(target=ask, args=one, daemon=True) for one in questions.items()]
    end = time.monotonic() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return dict(answers)


def _counts(store: LevelDBStore | RedisStore) -> dict[str, Counts]:
    """Every queue that the store has seen or that the code declares for it."""
    if isinstance(store, LevelDBStore):
        found = ControlClient(store.conf.path, _OWNER).counts()
    else:
        with store.admin() as desk:
            found = desk.counts()
    return {name: Counts() for name in _declared(store.alias)} | found


def _nodes(store: LevelDBStore | RedisStore) -> list[Json]:
    return [node for node in store.exchange().nodes() if sound(node)]


def _declared(alias: str) -> list[str]:
    return [name for name, queue in all_queues().items() if queue.options.store == alias]
