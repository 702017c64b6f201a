"""The runner as a node: what it publishes of itself and of the jobs in its workers, and the orders that it obeys.

Two calls of the control socket, in the master's loop. What a worker has to add (progress, commands, processes below
the job) it publishes itself; :mod:`django_graceful.nodes.view` puts the two together.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from django_graceful.exceptions import RecordError, StoreError
from django_graceful.items import decode_header
from django_graceful.nodes.names import execution_id, execution_of
from django_graceful.nodes.table import MAX_ROWS, frame
from django_graceful.runner.estate import Estate
from django_graceful.runner.handle import Handle
from django_graceful.runner.pump import Pump
from django_graceful.runner.tally import item_id
from django_graceful.runner.watch import resident
from django_graceful.runner.wire import Unit
from django_graceful.stores.base import CancelReply

Json = dict[str, Any]


class Showing:
    """The two calls, over the stores of one runner. ``status`` is the master's own answer about itself."""

    def __init__(self, estate: Estate, status: Callable[[], Json]) -> None:
        self._estate = estate
        self._status = status
        #: By the names under which the control socket serves them.
        self.calls: Mapping[str, Callable[..., Json]] = {"describe": self.describe, "order": self.obey}

    def describe(self) -> Json:
        """The runner, as it is now."""
        status = self._status()
        rows = [row for pump in self._estate.pumps for row in _rows(pump)]
        return frame("runner", status["since"], status["phase"]) | {
            "hammer_in": status["hammer_in"],
            "workers": status["workers"],
            "memory": _memory(self._estate),
            "figures": {pump.alias: _figures(pump) for pump in self._estate.pumps},
            "processes": rows[:MAX_ROWS],
            "left_out": max(0, len(rows) - MAX_ROWS),
        }

    def obey(self, order: Json) -> Json:
        """Carry out ``{"cancel": id, "by", "note"}`` for a job; the reply is ``{"reply": "asked" or "unknown"}``.

        Looked up and asked for in one go on the owner's thread, so it meets this execution or none.
        """
        job = execution_of(str(order.get("cancel")))
        for pump in self._estate.pumps:
            if job is not None and pump.alias == job[0]:
                item = _item(pump, job[1])
                reply = pump.owner.request_cancel(item, str(order.get("by", "")), str(order.get("note", "")))
                pump.kick()
                return {"reply": "unknown" if reply is CancelReply.UNKNOWN else "asked"}
        return {"reply": "unknown"}


def _figures(pump: Pump) -> Json:
    return {queue: figures.shown() for queue, figures in pump.tally.figures.items()}


def _memory(estate: Estate) -> Json:
    """Resident bytes; what a worker shares with the fork server is counted in each."""
    return {"master": resident(os.getpid()), "workers": sum(resident(worker.pid) for worker in estate.workers)}


def _item(pump: Pump, execution: int) -> str:
    """The item that a worker has under this execution; empty when none has."""
    leases = (lease for worker in pump.workers for unit in worker.units for lease in unit.leases)
    return next((item_id(lease) for lease in leases if lease.execution == execution), "")


def _rows(pump: Pump) -> Iterator[Json]:
    for worker in pump.workers:
        for run in worker.runs():
            unit, first = run.unit, run.unit.leases[0]
            what = item_id(first) if len(unit.leases) == 1 else f"{len(unit.leases)} items"
            yield {
                "id": execution_id(pump.alias, first.execution),
                "description": f"{unit.queue}: {what}",
                "kind": "job",
                "since": time.time() - run.seconds,
                "parent": None,
                "progress": None,
                "commands": [],
                "system": False,
                "stop": _stop(pump, worker, unit),
                "pid": worker.pid,
                "store": pump.alias,
                "queue": unit.queue,
                "item": item_id(first),
                "items": len(unit.leases),
                "execution": first.execution,
                "attempt": _attempt(first.record),
            }


def _stop(pump: Pump, worker: Handle, unit: Unit) -> Json | None:
    """What the master did to stop it, and what the store knows of who wished it."""
    told = worker.stops.get(unit.last)
    if told is None:
        return None
    why, at = told
    stopping_at = time.time() - (time.monotonic() - at)
    stop = {"reason": why.name.lower(), "by": "", "note": "", "asked_at": stopping_at}
    stop |= {"stopping_at": stopping_at, "killed_at": worker.killed_at}
    for lease in unit.leases:
        wish = _wish(pump, item_id(lease))
        if wish is not None:
            times = {name: wish[name] for name in ("asked_at", "stopping_at", "killed_at") if wish[name]}
            return stop | {"by": wish["by"], "note": wish["reason"]} | times
    return stop


def _wish(pump: Pump, item: str) -> Json | None:
    """Who wished that the run of this item stops; None also when the store can not say just now."""
    with suppress(StoreError):
        found = None if pump.failing else pump.owner.get(item)
        return None if found is None else found.detail.get("cancel")
    return None


def _attempt(record: bytes) -> int:
    try:
        return decode_header(record).attempt
    except RecordError:
        return 0
