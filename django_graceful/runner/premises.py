"""What a runner has of one store: the owner's part of it, and a directory for slates and the control socket.

A LevelDB store is a directory, and opening it settles what a former runner left. A redis store has none, so each runner
has a seat on its host (:mod:`~django_graceful.runner.seats`); what dead runners of this host left is settled with the
first step that the server takes, so a runner can start while it is away.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

from django_graceful.conf import StoreConf
from django_graceful.descendants import end_marked, store_mark
from django_graceful.exceptions import StoreError
from django_graceful.nodes import names
from django_graceful.runner import seats
from django_graceful.runner.slate import SlateDirectory
from django_graceful.stores import get_store
from django_graceful.stores.base import StoreOwner
from django_graceful.stores.exchange import Exchange

logger = logging.getLogger("django_graceful.runner")

#: Seconds that the thread of the exchange waits for the loop's answer.
_ANSWER = 2.0

Calls = Mapping[str, Callable[..., Any]]


class Premises:
    """Of a LevelDB store. Raises :class:`~django_graceful.exceptions.StoreError` when it can not be opened."""

    def __init__(self, conf: StoreConf, max_crashes: int) -> None:
        self.conf = conf
        self.slates = SlateDirectory(conf.path / "slates")
        self.owner: StoreOwner = get_store(conf.alias).own(self.slates.witness, max_crashes=max_crashes)
        end_marked(store_mark(conf.path))  # no worker of this store lives, so what its jobs started must not either
        self.slates.clear()

    @property
    def directory(self) -> Path:
        """Where the control socket is."""
        return self.conf.path

    def settled(self) -> None:
        """What former runners left has been brought back."""

    async def appear(self, calls: Calls) -> None:
        """Be seen by the other nodes. (The control socket does that.)"""

    async def vanish(self) -> None:
        """Undo :meth:`appear`."""

    def leave(self, *, clean: bool) -> None:
        """The owner is closed. ``clean``: all that ran is written down."""


class Seated(Premises):
    """Of a redis store."""

    def __init__(self, conf: StoreConf, max_crashes: int) -> None:
        from django_graceful.stores.redis import RedisStore

        self.conf = conf
        self._exchange: Exchange | None = None
        self._seat = seats.take(conf.path)
        self.slates = self._seat.slates
        self._former = seats.abandoned(conf.path)
        # Read before anything else: this waits until those workers are gone.
        witnesses = {seat.name: seat.slates.witnesses().get for seat in self._former}
        for seat in self._former:
            end_marked(store_mark(seat.path))
        store = get_store(conf.alias)
        assert isinstance(store, RedisStore)
        self._store = store
        self.owner = store.own_later(self._seat.name, witnesses, max_crashes)

    @property
    def directory(self) -> Path:
        return self._seat.path

    def settled(self) -> None:
        while self._former:
            self._former.pop().remove()

    async def appear(self, calls: Calls) -> None:
        loop, exchange = asyncio.get_running_loop(), self._store.exchange()
        describe, obey = (_on_loop(loop, calls[name]) for name in ("describe", "order"))
        try:
            await asyncio.to_thread(exchange.join, names.current, describe, obey)
            self._exchange = exchange
        except StoreError as error:
            logger.warning("store %s: this runner is not listed: %s", self.conf.alias, error)

    async def vanish(self) -> None:
        if self._exchange is not None:
            await asyncio.to_thread(self._exchange.leave)

    def leave(self, *, clean: bool) -> None:
        for seat in self._former:
            seat.leave()
        if clean:
            self._seat.remove()
        else:
            self._seat.leave()


def open_premises(conf: StoreConf, max_crashes: int) -> Premises:
    """Those of a durable store."""
    return (Seated if conf.backend == "redis" else Premises)(conf, max_crashes)


def _on_loop(loop: asyncio.AbstractEventLoop, call: Callable[..., Any]) -> Callable[..., Any]:
    """``call``, for other threads: carried out in the loop."""

    def ask(*args: Any) -> Any:
        answer: Future[Any] = Future()

        def act() -> None:
            try:
                answer.set_result(call(*args))
            except Exception as error:
                with suppress(asyncio.InvalidStateError):
                    answer.set_exception(error)

        loop.call_soon_threadsafe(act)
        return answer.result(_ANSWER)

    return ask
