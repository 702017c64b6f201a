"""The desk of a store, one of its three faces (:mod:`django_graceful.stores.base`): questions and orders.

Its abstract methods are what travels over a control socket; each is one call of the owner, carried out in one go.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from django_graceful.items import State
from django_graceful.stores.values import (
    CancelCount,
    CancelOutcome,
    CancelReply,
    Counts,
    Found,
    Page,
    Planned,
    Problem,
    Tick,
    Ticked,
)


class StoreAdmin(ABC):
    """Questions and orders, for any process with access to the owner.

    Every method takes the inbox in first: you read what you wrote.
    """

    @abstractmethod
    def counts(self) -> dict[str, Counts]:
        """Every queue that the store has ever seen, by name."""

    @abstractmethod
    def get(self, item_id: str) -> Found | None:
        """The item, wherever it is; None when it is done, discarded, or never was. Malformed ids are unknown ids."""

    @abstractmethod
    def has(self, queue: str, key: str) -> bool:
        """Whether a live item of a unique queue holds ``key``: the next push with it would change nothing."""

    @abstractmethod
    def page(self, queue: str, state: State, after: str | None = None, limit: int = 100) -> Page:
        """Up to ``limit`` items of one state, in the order in which they would run (or died).

        ``after`` is a former page's.
        """

    @abstractmethod
    def retry(self, queue: str, ids: Sequence[str] | None = None) -> int:
        """Dead and cancelled items (those named, else all *dead* ones) wait again; how many.

        Attempts and crashes start at 0, the errors are kept. A unique item whose key is taken by now is merged into the
        one that has it, and counts.
        """

    @abstractmethod
    def discard(self, queue: str, state: State, ids: Sequence[str] | None = None) -> int:
        """Remove items that do not run: all of ``state``, or those named. How many were removed."""

    @abstractmethod
    def request_cancel(self, item_id: str, by: str = "", reason: str = "") -> CancelReply:
        """Cancel one item: at once when it does not run, else by a stored wish for its execution.

        The runner acts on the wish. ``by`` and ``reason`` are kept with the item: those of the first who asked, for a
        run that was asked before.
        """

    @abstractmethod
    def cancel_some(
        self, queue: str, key: str | None = None, by: str = "", reason: str = "", *, before: int | None = None
    ) -> CancelCount:
        """One stretch of :meth:`cancel_all`: one write, and so short (a thousand items) that the owner is soon free.

        All that runs is asked in each. ``before`` is that of the former stretch; None in the first.
        """

    def cancel_all(self, queue: str, key: str | None = None, by: str = "", reason: str = "") -> CancelCount:
        """Cancel everything of a queue that waits, is scheduled, retrying or runs; with ``key`` only items of that key.

        Each item is cancelled as by :meth:`request_cancel`. Items pushed after this began stay. It is several calls of
        the owner: whoever is killed in between, every item is either cancelled or as it was, and saying it again
        finishes. An unknown queue has nothing to cancel.
        """
        cancelled = asked = 0
        before: int | None = None
        while True:
            some = self.cancel_some(queue, key, by, reason, before=before)
            cancelled, asked, before = cancelled + some.cancelled, asked + some.asked, some.before
            if before is None:
                return CancelCount(cancelled, asked)

    @abstractmethod
    def cancel_outcome(self, item_id: str) -> CancelOutcome | None:
        """How the last run of an item ended that had been asked to stop, also when the item is gone since.

        None while it runs, when none was asked, and when it is forgotten: the last few thousand are kept, and a restart
        of the owner may forget them.
        """

    @abstractmethod
    def pause(self, queue: str) -> None:
        """Lease nothing more of this queue, also after restarts. Pushes go on."""

    @abstractmethod
    def resume(self, queue: str) -> None:
        """Undo :meth:`pause`."""

    @abstractmethod
    def result(self, item_id: str) -> dict[str, Any] | None:
        """What an execution left with its ending: ``result`` (JSON text) and ``finished_at``.

        None when there is none (any more).
        """

    @abstractmethod
    def schedules(self) -> list[Planned]:
        """What is kept of every schedule that ever had a tick."""

    @abstractmethod
    def tick(self, tick: Tick) -> Ticked:
        """Keep the new state of a schedule and push its item, in one write, if its state is as the caller knows it.

        So of all who know the same state one succeeds, and whoever is killed, both have happened or neither. The inbox
        is not taken in first.
        """

    @abstractmethod
    def forget_handovers(self, age: float) -> int:
        """Forget a stretch of what came from an outbox and was last handed over ``age`` seconds ago or earlier.

        How many of them; 0: there are no more. Whoever asks makes sure that nobody hands these over again.
        """

    @abstractmethod
    def check(self) -> list[Problem]:
        """Compare everything with everything: counts, keys, index, leases. Slow with many items; changes nothing."""

    @abstractmethod
    def repair(self) -> list[Problem]:
        """Mend what :meth:`check` finds and give what was mended. No item is removed by it."""
