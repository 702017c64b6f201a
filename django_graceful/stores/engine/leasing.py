"""Leasing: the first waiting items of a queue, in order, written down as running. One put for a whole chunk."""

from __future__ import annotations

from itertools import count, islice
from typing import Final

from django_graceful.items import UNIQUE, UNTIL_FINISHED
from django_graceful.stores.engine import keys, ledger, records
from django_graceful.stores.engine.core import Core
from django_graceful.stores.engine.heads import BYTES, Entry
from django_graceful.stores.engine.lanes import Lane
from django_graceful.stores.engine.ledger import Chunk
from django_graceful.stores.values import Lease

#: Items that are loaded into a head in one stretch.
STRETCH: Final = 2000


class Leasing:
    """Hands items out. ``epoch`` is how often the store was opened: the executions of this time begin with it."""

    def __init__(self, core: Core, epoch: int) -> None:
        self._core = core
        self._next = (epoch << keys.EPOCH_SHIFT) + 1

    def load_heads(self) -> None:
        """Know the first items of every queue."""
        for lane in self._core.lanes.values():
            self._load(lane)

    def lease(self, queue: str, limit: int, owner: str) -> list[Lease]:
        """See :meth:`~django_graceful.stores.base.StoreOwner.lease`."""
        lane = self._core.lanes.get(queue)
        if lane is None or lane.paused or limit < 1:
            return []
        picked: list[Entry] = []
        try:
            self._pick(lane, limit, picked)
            return self._hand_out(lane, picked, owner) if picked else []
        except BaseException:
            for key, record in picked:
                lane.head.add(key, record)
                lane.unpark(records.unique_key(lane.number, record))
            raise

    def _pick(self, lane: Lane, limit: int, picked: list[Entry]) -> None:
        taken: set[bytes] = set()
        head = lane.head
        while len(picked) < limit and (head.entries or self._load(lane)):
            for entry in head.take(limit - len(picked)):
                if entry[1][1] & UNIQUE:
                    ukey = records.unique_key(lane.number, entry[1])
                    if ukey in taken or ukey in self._core.ledger.busy:
                        lane.park(ukey, entry)
                        continue
                    taken.add(ukey)
                picked.append(entry)

    def _hand_out(self, lane: Lane, picked: list[Entry], owner: str) -> list[Lease]:
        core = self._core
        chunk = chunk_of(lane, self._next, owner, picked)
        chunk.at = core.now()
        step = core.step()
        step.changes[keys.lease(chunk.first)] = ledger.encode(owner, chunk.keys)
        for at, (ukey, flags) in chunk.uniques.items():
            if not flags & UNTIL_FINISHED:
                step.free_key(ukey, chunk.ids[at])
        step.commit()
        core.ledger.open(chunk)
        core.show(lane)
        self._next += len(picked)
        return [Lease(execution, record) for execution, (_, record) in zip(count(chunk.first), picked, strict=False)]

    def _load(self, lane: Lane) -> bool:
        """Fill an empty head from disk. False: nothing more waits."""
        while lane.head.beyond is not None and not lane.head.entries:
            self._load_stretch(lane, lane.head.beyond)
        return bool(lane.head.entries)

    def _load_stretch(self, lane: Lane, start: bytes) -> None:
        found: list[Entry] = []
        unreadable = []
        rows = size = 0
        key = start
        for key, record in islice(self._core.items(keys.READY, lane, start), STRETCH):
            rows += 1
            size += len(record)
            if key in lane.out:
                continue
            if reason := records.fault(record):
                unreadable.append((key, record, reason))
            else:
                found.append((key, record))
            if size > BYTES:
                break
        more = rows == STRETCH or size > BYTES
        lane.head.load(found, key + b"\0" if more else None)
        for key, record, reason in unreadable:
            self._core.set_aside(lane, key, record, reason)


def chunk_of(lane: Lane, first: int, owner: str, entries: list[Entry]) -> Chunk:
    """These items as one chunk, not yet running."""
    ids = [record[records.ID] for _, record in entries]
    chunk = Chunk(first, owner, lane, [key for key, _ in entries], ids)
    for at, (_, record) in enumerate(entries):
        if record and record[1] & UNIQUE:  # a finished item of a lease that is read back has none
            chunk.uniques[at] = records.unique_key(lane.number, record), record[1]
    return chunk
