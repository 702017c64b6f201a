"""Moving everything from one store to another: what waits, is scheduled, retrying, dead or cancelled.

Runs in a command that owns both stores. Each item is kept in the new store before it leaves the old one, a stretch at a
time, so whoever is killed leaves every item in one store or, under the same id, in both: moving again finishes. (An
item of that one stretch that the new store's runner has handled in between runs twice.) Items keep their ids, keys,
priorities, attempts, errors and times; results, and the totals of the old store, stay behind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from django_graceful.items import State
from django_graceful.outbox.writing import unmarked
from django_graceful.stores.base import StoreOwner

#: Items that are moved in one go.
STRETCH: Final = 500
_ASIDE: Final = (State.DEAD, State.CANCELLED)
#: In this order; what becomes due meanwhile is found among the waiting ones of the next round.
_STATES: Final = (State.SCHEDULED, State.RETRYING, State.WAITING, *_ASIDE)

#: How many items of a state were moved, and how many of these were merged into one that has their unique key.
Moved = dict[State, int]


def move(source: StoreOwner, target: StoreOwner, queue: str, said: Callable[[int], object]) -> tuple[Moved, int]:
    """Move one queue; how many items of each state, and how many were duplicates of an item that has their key there.

    ``said`` is called after each stretch with the number moved so far. Raises
    :class:`~django_graceful.exceptions.StoreError`.
    """
    moved: Moved = dict.fromkeys(_STATES, 0)
    merged = 0
    if source.counts()[queue].paused:
        target.pause(queue)  # before anything can be leased there
    for state in _STATES:
        while kept := source.kept(queue, state, STRETCH):
            if state in _ASIDE:
                target.set_aside(queue, state, kept)
            else:
                ids = target.push(queue, [unmarked(one.form) for one in kept])
                merged += sum(known.hex() != one.id for known, one in zip(ids, kept, strict=True))
            gone = source.discard(queue, state, [one.id for one in kept])
            moved[state] += gone
            said(sum(moved.values()))
            if not gone and not source.prepare():  # they can not be taken away: somebody else works on them
                break
    return moved, merged
