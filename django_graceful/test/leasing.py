"""Which item of a test's stores runs next, and leasing it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django_graceful.exceptions import UnknownQueue
from django_graceful.items import State, id_of
from django_graceful.queues import get_queue
from django_graceful.runner.wire import Unit
from django_graceful.stores.base import Lease, StoreOwner

#: More than a test ever pushes.
_ALL = 1 << 30
_WORKER = "test"


def lease_next(engines: Iterable[StoreOwner], names: set[str]) -> tuple[StoreOwner, Unit] | None:
    """The next item, or batch, that is ready in the queues ``names`` (none: all); None: nothing is."""
    for engine in engines:
        for name in engine.ready():
            if names and name not in names:
                continue
            leases = engine.lease(name, _batch_length(name), _WORKER)
            if leases:
                return engine, _unit(name, leases)
    return None


def lease_one(engines: Sequence[StoreOwner], item_id: str) -> tuple[StoreOwner, Unit]:
    """This item. Raises ``AssertionError`` when it is not ready to run."""
    for engine in engines:
        found = engine.get(item_id)
        if found is None:
            continue
        name = found.item.queue
        leases = engine.lease(name, _ALL, _WORKER)
        mine = [lease for lease in leases if id_of(lease.record).hex() == found.item.id]
        engine.release([lease.execution for lease in leases if lease not in mine])
        if mine:
            return engine, _unit(name, mine)
        detail = f" ({found.detail['reason']})" if found.detail.get("reason") else ""
        if found.state in (State.SCHEDULED, State.RETRYING):
            detail = ": travel() to its time first"
        if found.state is State.WAITING:
            detail = ", but its queue is paused, or another item of its key comes first"
        raise AssertionError(f"item {item_id} of queue {name!r} can not run now. It is {found.state}{detail}.")
    raise AssertionError(f"there is no item {item_id} any more, or it was not pushed in this test")


def next_due(engines: Iterable[StoreOwner], names: set[str]) -> int | None:
    """When (µs since the epoch) the next delayed or retrying item of these queues is due; None: there is none."""
    pages = [
        engine.page(name, state, limit=1)
        for engine in engines
        for name in names or engine.counts()
        for state in (State.SCHEDULED, State.RETRYING)
    ]
    return min((round(page.items[0].detail["due"] * 1e6) for page in pages if page.items), default=None)


def _batch_length(name: str) -> int:
    try:
        return get_queue(name).options.batch_length
    except UnknownQueue:  # whoever runs it says so
        return 1


def _unit(name: str, leases: list[Lease]) -> Unit:
    return Unit(0, name, _batch_length(name) > 1, leases)
