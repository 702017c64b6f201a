"""The queues of one test: stores of its own, and what the test asks and orders."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from unittest.mock import ANY

from asgiref.sync import sync_to_async

from django_graceful import nodes
from django_graceful.items import State
from django_graceful.queues import Queue, get_queue
from django_graceful.runner.wire import Unit
from django_graceful.stores import stores_made_by
from django_graceful.stores.base import Found, StoreOwner
from django_graceful.test.committing import uncommitted
from django_graceful.test.leasing import lease_next, lease_one, next_due
from django_graceful.test.log import Pushed, describe, matching
from django_graceful.test.running import Ran, run_unit
from django_graceful.test.store import Stock

_ALL = 1 << 30


@contextmanager
def isolated_queues() -> Iterator[QueueBox]:
    """For the length of the block every store of this process is a fresh one in memory; the box that holds them.

    Blocks may be nested: the innermost counts, and the outer one is as it was afterwards. Threads of the process (those
    of a live server) take part; other processes do not. Needs no settings until something is pushed.
    """
    stock = Stock()
    nodes.leave()
    with stores_made_by(stock.make):
        try:
            yield QueueBox(stock)
        finally:
            nodes.leave()


class QueueBox:
    """What :func:`isolated_queues` gives. Queues are named by their name or as the :class:`Queue`.

    Nothing runs by itself, and time stands still: what has a delay and what waits for its retry stays there until
    :meth:`travel`, or ``run_queued(ahead=True)``. Queues with ``immediate=True`` run inside ``push``, and are not here.
    """

    def __init__(self, stock: Stock) -> None:
        self._stock = stock

    # What happened

    def pushed(self, queue: Queue[Any] | str | None = None) -> list[Pushed]:
        """What was pushed (to that queue), in order, whatever has become of it since; duplicates of a unique queue were
        not.
        """
        name = None if queue is None else _name(queue)
        return [one for one in self._stock.log if name in (None, one.queue)]

    def assert_pushed(
        self, queue: Queue[Any] | str, payload: Any = ANY, *, count: int | None = None, **wanted: Any
    ) -> Pushed:
        """Fail unless something with this payload was pushed to the queue: exactly ``count`` times, or at least once.
        The first of it.

        ``wanted``: other attributes of :class:`Pushed` that it must have, like ``delay=30``. Anything that compares
        equal will do.
        """
        found = self._matching(queue, payload, wanted)
        if count is None and not found:
            raise AssertionError(f"Nothing like it was pushed to {_name(queue)!r}: {payload!r}.\n{self._told(queue)}")
        if count is not None and len(found) != count:
            what = "" if payload is ANY else f", like {payload!r}"
            raise AssertionError(f"{len(found)} items were pushed, not {count}{what}.\n{self._told(queue)}")
        return found[0] if found else Pushed(_name(queue), "", None)

    def assert_not_pushed(self, queue: Queue[Any] | str, payload: Any = ANY, **wanted: Any) -> None:
        """Fail when something with this payload was pushed to the queue."""
        self.assert_pushed(queue, payload, count=0, **wanted)

    def items(self, queue: Queue[Any] | str, state: State | None = None) -> list[Found]:
        """What is in the queue now (in that state): its items with their state, errors and due times."""
        return [
            found
            for engine in self._stock.engines
            for one in State
            if state in (None, one)
            for found in engine.page(_name(queue), one, limit=_ALL).items
        ]

    # What is to happen

    def travel(self, seconds: float | timedelta) -> None:
        """Let so much time pass for the queues: what is due by then is ready. Nothing runs; other clocks stay."""
        wait = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
        if wait < 0:
            raise ValueError(f"time goes forward only, not by {wait:g} s")
        self._stock.clock.at += round(wait * 1e6)

    def run_queued(
        self, *queues: Queue[Any] | str, ahead: bool = False, keep_errors: bool = False, limit: int = 1000
    ) -> list[Ran]:
        """Run what is ready, in these queues or in all, with what the handlers push meanwhile, until nothing is left;
        how each run ended.

        Handlers run here: in this thread, in the test's transaction, each in a fresh context (language, time zone), in
        batches as the queue declares. What they leave for ``on_commit`` happens after them. ``ahead``: also what is
        delayed or to be retried, in the order of its time, which passes for the queues. The error of a handler is
        raised, after its item is written down as retrying or dead, and ends this; with ``keep_errors`` it is only in
        the answer. ``Retry``, ``Discard`` and ``CancelProcess`` are no errors, a ``Retry`` without an attempt left is.
        Raises ``AssertionError`` after ``limit`` runs: something queues itself for ever.
        """
        _refuse_in_a_loop()
        names = {_name(queue) for queue in queues}
        ran: list[Ran] = []
        while found := self._next(names, ahead=ahead):
            engine, unit = found
            if len(ran) >= limit:
                engine.release([lease.execution for lease in unit.leases])
                raise AssertionError(f"{len(ran)} runs and no end, now in {unit.queue!r}. If it needs more, set limit=")
            ran += _run(engine, unit, keep_errors=keep_errors)
        return ran

    def run_item(self, item_id: str, *, keep_errors: bool = False) -> Ran:
        """Run this one item, whatever waits before it, and nothing else; how it ended. Errors as in :meth:`run_queued`.

        Raises ``AssertionError`` when it is not ready: done, delayed, dead, in a paused queue, or behind another of its
        key.
        """
        _refuse_in_a_loop()
        return _run(*lease_one(self._stock.engines, item_id), keep_errors=keep_errors)[0]

    async def arun_queued(
        self, *queues: Queue[Any] | str, ahead: bool = False, keep_errors: bool = False, limit: int = 1000
    ) -> list[Ran]:
        """:meth:`run_queued` for async tests."""
        return await sync_to_async(self.run_queued)(*queues, ahead=ahead, keep_errors=keep_errors, limit=limit)

    async def arun_item(self, item_id: str, *, keep_errors: bool = False) -> Ran:
        """:meth:`run_item` for async tests."""
        return await sync_to_async(self.run_item)(item_id, keep_errors=keep_errors)

    def _next(self, names: set[str], *, ahead: bool) -> tuple[StoreOwner, Unit] | None:
        """The next thing to run, leased; with ``ahead`` the clock goes to the next due time when nothing is ready."""
        found = lease_next(self._stock.engines, names)
        while found is None and ahead and (due := next_due(self._stock.engines, names)) is not None:
            self._stock.clock.at = max(self._stock.clock.at, due)
            found = lease_next(self._stock.engines, names)
        return found

    def _matching(self, queue: Queue[Any] | str, payload: Any, wanted: dict[str, Any]) -> list[Pushed]:
        if unknown := wanted.keys() - Pushed.__dataclass_fields__.keys():
            raise TypeError(f"what was pushed has no {', '.join(sorted(unknown))}; it has: {_ATTRIBUTES}")
        return matching(self.pushed(queue), {"payload": payload, **wanted})

    def _told(self, queue: Queue[Any] | str) -> str:
        name = _name(queue)
        immediate = get_queue(name).options.immediate
        return describe(name, self.pushed(name), immediate=immediate, uncommitted=uncommitted())


def _name(queue: Queue[Any] | str) -> str:
    return queue.name if isinstance(queue, Queue) else get_queue(queue).name


def _run(engine: StoreOwner, unit: Unit, *, keep_errors: bool) -> list[Ran]:
    ran = run_unit(engine, unit)
    failures = [one.failure for one in ran if one.failure is not None]
    if failures and not keep_errors:
        raise failures[0]
    return ran


def _refuse_in_a_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError("handlers do not run in an event loop's thread: await arun_queued() or arun_item()")


_ATTRIBUTES = ", ".join(Pushed.__dataclass_fields__)
