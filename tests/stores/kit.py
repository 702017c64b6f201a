"""What the conformance suite needs of a store: an owner that can be crashed and opened again, and a clock to set."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from django_graceful.items import UNIQUE, UNTIL_FINISHED, Outcome, State, decode_item, encode_record, new_id
from django_graceful.stores.base import Counts, Ending, Lease, StoreOwner, Witness
from django_graceful.stores.engine.kv import KV, MemoryKV
from django_graceful.stores.engine.owner import Engine
from django_graceful.stores.leveldb.opening import open_kv

#: What an engine opens later, it opens at this time.
START = 1_700_000_000.0


class Clock:
    """Seconds since the epoch, as the test says."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


class Kit(ABC):
    """One store under test. A new kind of store is one more subclass in :data:`KITS`."""

    owner: StoreOwner

    def __init__(self) -> None:
        self.clock = Clock()
        self.open()

    @abstractmethod
    def open(self, witness: Witness | None = None, *, max_crashes: int = 3) -> None:
        """Set ``owner``."""

    @abstractmethod
    def crash(self) -> None:
        """The owner is gone without a word."""

    def reopen(self, witness: Witness | None = None, *, max_crashes: int = 3) -> StoreOwner:
        """The owner dies, and another one opens the store."""
        self.crash()
        self.open(witness, max_crashes=max_crashes)
        return self.owner

    def record(self, payload: Any = None, *, delay: float = 0, item_id: bytes | None = None, **fields: Any) -> bytes:
        """A record as a producer would encode it now."""
        now = int(self.clock.now * 1_000_000)
        due = now + int(delay * 1_000_000) if delay else 0
        data = json.dumps(payload).encode()
        return encode_record(item_id or new_id(), data, pushed_at=now, not_before=due, **fields)

    def push(self, *payloads: Any, queue: str = "q", limit: int = 0, **fields: Any) -> list[str]:
        """Push one record for each payload; the ids that the push answered."""
        records = [self.record(payload, **fields) for payload in payloads]
        return [found.hex() for found in self.owner.push(queue, records, limit)]

    def prepare(self) -> None:
        """Until there is nothing to prepare."""
        while self.owner.prepare():
            pass

    def lease(self, limit: int = 1, owner: str = "w1", queue: str = "q") -> list[Lease]:
        self.prepare()
        return self.owner.lease(queue, limit, owner)

    def take(self, owner: str = "w1", queue: str = "q") -> Lease:
        """Lease one item, which must be there."""
        (lease,) = self.lease(1, owner, queue)
        return lease

    def end(self, lease: Lease, outcome: Any, **fields: Any) -> None:
        """Finish one execution, which must run."""
        assert self.owner.finish(endings=[Ending(lease.execution, outcome, **fields)]) == set()

    def done(self, lease: Lease) -> None:
        assert self.owner.finish([lease.execution]) == set()

    def fill(self) -> None:
        """An item in every state; one of those that run is to be cancelled."""
        self.push(*range(8))
        self.push("delayed", delay=3600)
        self.push("queued", key="k", flags=UNIQUE)
        self.push("finished", key="f", flags=UNIQUE | UNTIL_FINISHED, priority=1)
        self.owner.push("q", [b"unreadable"])
        leases = self.lease(6)
        for lease, outcome in zip(leases[1:4], (Outcome.RETRY, Outcome.DEAD, Outcome.CANCELLED), strict=True):
            self.end(lease, outcome, delay=50, result=b"1", result_ttl=50)
        self.owner.request_cancel(self.owner.page("q", State.RUNNING).items[0].item.id)

    def drain(self, queue: str = "q") -> list[Any]:
        """Run everything that is ready to its end, one at a time; the payloads in their order."""
        found = []
        while leases := self.lease(queue=queue):
            found.append(payload(leases[0]))
            self.done(leases[0])
        return found

    def counts(self, queue: str = "q") -> Counts:
        found: Counts = self.owner.counts()[queue]
        return found


class EngineKit(Kit):
    """The engine over a map that outlives it."""

    kv: KV

    def open(self, witness: Witness | None = None, *, max_crashes: int = 3) -> None:
        self.kv = self.open_kv()
        self.owner = Engine(self.kv, clock=self.clock, witness=witness, max_crashes=max_crashes)

    @abstractmethod
    def open_kv(self) -> KV: ...


class MemoryKit(EngineKit):
    def __init__(self, path: Path) -> None:
        self._kv = MemoryKV()
        super().__init__()

    def open_kv(self) -> KV:
        return self._kv

    def crash(self) -> None:
        """The map stays as it is."""


class LevelKit(EngineKit):
    def __init__(self, path: Path) -> None:
        self._path = path
        super().__init__()

    def open_kv(self) -> KV:
        kv, self.opening_notices = open_kv(self._path / "store")
        return kv

    def crash(self) -> None:
        self.kv.close()


#: By the name that a test shows.
KITS = {"memory": MemoryKit, "leveldb": LevelKit}


def payload(lease: Lease) -> Any:
    """What was pushed."""
    return decode_item("q", lease.record).payload
