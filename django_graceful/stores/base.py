"""The contract of every store: where items live, and the few steps that change them.

Three faces, because three kinds of process meet a store:

* :class:`Store` is what any process holds (a web worker, a command): it pushes, opens one of the other two faces, and
  has the :class:`~django_graceful.stores.exchange.Exchange` by which the processes see each other.
  Making one opens nothing; it is safe before a fork, at import and in ``AppConfig.ready``.
* :class:`StoreAdmin` asks and orders: counts, pages of items, retry, discard, cancel, pause. Served by the owner.
* :class:`StoreOwner` leases and finishes. LevelDB has one owner, the runner's master; Redis has one per runner.

**Every step is one atomic write.** A process killed between any two lines of a step leaves the store before the step
or after it. In particular a unique key and its item live and die in the same write (promise P7).

**Executions.** ``lease`` gives each run a number that no other run of this store ever had. ``finish`` and ``release``
name the execution, never the item: one that is not running any more (released, rescued, finished before) is *refused*,
changes nothing, and is named in the answer. That is the fencing of promise P2.

**What happens to a leased item** (:class:`~django_graceful.items.Outcome`):

===========  =====================================================================================================
done         gone; its key is free; its result is kept when there is one
retry        attempt + 1, ``error`` kept in ``meta["errors"]``, waits ``delay`` seconds as *retrying*
dead         attempt + 1 unless it never failed by itself, ``error`` kept, set aside as *dead*
cancelled    set aside as *cancelled* with who, when and why; no attempt
interrupted  back to its place (the front), nothing counted; dead when the item says ``RUN_ONCE``
crashed      back to its place, crashes + 1; dead when that reaches ``max_crashes`` or the item says ``RUN_ONCE``
===========  =====================================================================================================

A run whose cancel was asked for does not come back: released, interrupted, crashed or to be retried, its item is
cancelled. Done or dead first wins; :meth:`StoreAdmin.cancel_outcome` tells which it was.

**Order** is priority (higher first), then the order of pushes. Delayed and retrying items keep the place of their push.

**Unique.** ``UNIQUE`` alone: the key is taken while the item waits (waiting, scheduled or retrying) and free while it
runs, but two items of one key are never leased at the same time. An item that comes back finds its key taken by a
younger one: both wait, and the key is the younger one's. With ``UNTIL_FINISHED`` the key is taken until the item is
done, dead or cancelled. A push that finds its key taken is success: nothing is stored, and the answer is the id of the
item that has the key (where the store knows it). So is a push of an item that is in the store already, by its id:
whoever is not sure pushes again.

Errors: :class:`~django_graceful.exceptions.StoreUnavailable` and its kin when the store can not be reached or written;
the message says what and where. A step that raised changed nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from math import inf
from socket import socket

from django_graceful.items import State
from django_graceful.stores.admin import StoreAdmin
from django_graceful.stores.exchange import Exchange
from django_graceful.stores.values import (
    CancelCount,
    CancelOutcome,
    CancelReply,
    Counts,
    Ending,
    Found,
    Kept,
    LadderStep,
    Lease,
    Page,
    Planned,
    Problem,
    Progress,
    Tick,
    Ticked,
    Wish,
    Witness,
)

__all__ = [
    "CancelCount",
    "CancelOutcome",
    "CancelReply",
    "Counts",
    "Ending",
    "Found",
    "Kept",
    "LadderStep",
    "Lease",
    "Page",
    "Planned",
    "Problem",
    "Progress",
    "Store",
    "StoreAdmin",
    "StoreOwner",
    "Tick",
    "Ticked",
    "Wish",
    "Witness",
]


class StoreOwner(StoreAdmin):
    """The one who leases and finishes. One thread uses it, the one that opened it."""

    #: What the opening met and mended, for the log: repaired files, torn records, items of dead workers brought back.
    notices: list[str]
    #: Seconds between two calls of :meth:`renew` that the runner makes; infinite where leases do not run out.
    renew_every: float = inf
    #: Whether the store is elsewhere, so that finding out that it is away may take a second or two.
    remote: bool = False

    @abstractmethod
    def wake_socket(self) -> socket | None:
        """Becomes readable when there may be something new, even if this process sleeps.

        None: nothing comes from outside.
        """

    @abstractmethod
    def prepare(self, limit: int = 2000) -> bool:
        """Take up to ``limit`` pushed items in and make ready what is due. True: call again at once, there is more."""

    @abstractmethod
    def about_to_sleep(self) -> bool:
        """Ask producers to wake this process from now on.

        False: something came meanwhile, prepare again instead of sleeping.
        """

    @abstractmethod
    def next_due(self) -> float | None:
        """When (seconds since the epoch) the next delayed or retrying item becomes ready."""

    @abstractmethod
    def ready(self) -> dict[str, int]:
        """How many items of each queue can be leased now; paused and empty queues are left out."""

    @abstractmethod
    def push(self, queue: str, records: Sequence[bytes], limit: int = 0) -> list[bytes]:
        """As :meth:`Store.push`, straight into the store."""

    @abstractmethod
    def lease(self, queue: str, limit: int, owner: str) -> list[Lease]:
        """Up to ``limit`` ready items in order, each with a new execution, written down as running at worker ``owner``.

        Execution numbers of one owner rise. Undecodable records are set aside as dead and not returned. Items whose
        key runs already are passed over until that run ends.
        """

    @abstractmethod
    def finish(self, done: Sequence[int] = (), endings: Iterable[Ending] = ()) -> set[int]:
        """End executions: ``done`` plainly, ``endings`` in their own way, all in one write.

        The refused ones are returned.
        """

    @abstractmethod
    def release(self, executions: Sequence[int]) -> set[int]:
        """Give leased items back that were never started: their old place, nothing counted.

        The refused ones are returned.
        """

    @abstractmethod
    def renew(self, executions: Sequence[int]) -> set[int]:
        """Keep leases for another period. (LevelDB: nothing to do.)

        The refused ones are returned; their runs must be stopped.
        """

    @abstractmethod
    def wishes(self) -> list[Wish]:
        """Cancel wishes that came since the last call."""

    @abstractmethod
    def note_step(self, execution: int, step: LadderStep, at: float) -> None:
        """The runner has come to a step of the ladder, ``stopping`` or ``killed``, at ``at`` (epoch seconds).

        Shown with the run and kept with its item when it ends as cancelled. Ignored for a run that nobody asked to
        stop, and for a step that was noted before.
        """

    @abstractmethod
    def note_run(self, queue: str, name: str, run: str) -> None:
        """Keep how the last run of a schedule ended, for :meth:`StoreAdmin.schedules`."""

    @abstractmethod
    def clock(self) -> float:
        """The store's time in seconds since the epoch, the same for all of its owners."""

    @abstractmethod
    def kept(self, queue: str, state: State, limit: int) -> list[Kept]:
        """The first items of a state (not ``running``), in order, as they are stored: for another store."""

    @abstractmethod
    def set_aside(self, queue: str, state: State, items: Sequence[Kept]) -> None:
        """Keep items that another store had set aside, as dead or cancelled. Those that are here already stay so."""

    @abstractmethod
    def sweep(self) -> None:
        """Housekeeping, about once a minute: expired results and old cancelled items go."""

    @abstractmethod
    def close(self, *, sync: bool = True) -> None:
        """Write everything down and let go. Leases stay as they are: whoever opens next brings the items back."""


class Store(ABC):
    """What any process holds of one entry of ``STORES``.

    Cheap to make; opens on first use, once per process (forks start anew).
    """

    alias: str

    @abstractmethod
    def push(self, queue: str, records: Sequence[bytes], limit: int = 0) -> list[bytes]:
        """Keep these records, all or none; their ids in order.

        Where a key was taken and the store knows by whom, the id is that item's. When this returns, the items survive
        the death of every process (and power loss, with ``DURABILITY: "fsync"``). ``limit`` is the most that may wait
        in the queue (0: no limit). Raises :class:`~django_graceful.exceptions.QueueFull` at once when there is no room
        (waiting is the caller's), :class:`~django_graceful.exceptions.StoreUnavailable` when it can not be written.
        Never needs a runner.
        """

    def hand_over(self, queue: str, records: Sequence[bytes], limit: int = 0) -> None:
        """Keep records of an outbox: as :meth:`push`, to where every handover of them is seen by the same owner.

        One that was handed over before changes nothing, also when its item has ended since.
        """
        self.push(queue, records, limit)

    @abstractmethod
    def admin(self, *, alone: bool = False) -> AbstractContextManager[StoreAdmin]:
        """The owner's desk, for the length of a ``with`` block.

        With no runner, ``alone=True`` (command-line tools) opens the store itself for that long; else
        :class:`~django_graceful.exceptions.StoreUnavailable` says that no runner runs.
        """

    @abstractmethod
    def own(self, witness: Witness | None = None, *, max_crashes: int = 3) -> StoreOwner:
        """Become the owner. Brings back what dead workers had leased (see :data:`Witness`).

        What was pushed meanwhile comes in with :meth:`StoreOwner.prepare`, or with the first question of an admin.

        Raises :class:`~django_graceful.exceptions.StoreLocked`, naming the pid, when somebody else is.
        """

    @abstractmethod
    def exchange(self) -> Exchange:
        """How the nodes of this store see and order each other; this process's part of it, always the same object."""

    def close(self) -> None:  # noqa: B027  (a store may have nothing open)
        """Let go of what this process has open for pushing. The next push opens it again."""
