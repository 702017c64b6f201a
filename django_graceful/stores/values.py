"""The values that go in and out of a store (:mod:`django_graceful.stores.base`, which has all these names too)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from django_graceful.items import Item, Outcome, State


@dataclass(slots=True)
class Lease:
    """One item handed out for one run. ``record`` is its stored form (:mod:`django_graceful.items`)."""

    execution: int
    record: bytes


@dataclass(slots=True, frozen=True)
class Ending:
    """How one execution ended, when it was not plainly done.

    ``delay`` is in seconds (retry only). ``error`` is a JSON object (``type``, ``message``, ``traceback``), appended
    to the item's errors. ``result`` is JSON, kept for ``result_ttl`` seconds. ``by`` and ``reason`` are kept with a
    dead or cancelled item.
    """

    execution: int
    outcome: Outcome
    delay: float = 0.0
    error: dict[str, Any] | None = None
    reason: str = ""
    by: str = ""
    result: bytes | None = None
    result_ttl: float = 0.0


@dataclass(slots=True)
class Counts:
    """One queue in numbers. ``waiting`` does not include what runs. Totals count since the store was made."""

    waiting: int = 0
    scheduled: int = 0
    retrying: int = 0
    running: int = 0
    dead: int = 0
    cancelled: int = 0
    #: Seconds since the longest waiting item was pushed; None when none waits.
    oldest_age: float | None = None
    paused: bool = False
    #: Totals: pushed = done + died + stopped + discarded + waiting + scheduled + retrying + running. A dead or
    #: cancelled item counts as died or stopped until somebody retries it, also when it is discarded or swept meanwhile;
    #: ``discarded`` counts those that were removed while they waited. Duplicates are not pushed; ``retried`` counts
    #: runs.
    pushed: int = 0
    duplicates: int = 0
    done: int = 0
    retried: int = 0
    died: int = 0
    stopped: int = 0
    discarded: int = 0


@dataclass(slots=True, frozen=True)
class Found:
    """One item and where it is.

    ``detail`` has what the state adds: ``due``, ``died_at``, ``cancelled_at``, ``reason``, ``by``, ``execution``,
    ``owner``, ``since`` (when it was handed out). A run that has been asked to stop has ``cancel``: ``by``, ``reason``,
    ``asked_at``, ``stopping_at`` and ``killed_at`` (None: not come to that); an item that was cancelled while it ran
    keeps those times that it has.
    All times are epoch seconds.
    """

    item: Item
    state: State
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True, frozen=True)
class Page:
    """Some items of one state, in order. ``after`` continues the page; None at the end."""

    items: list[Found]
    after: str | None = None


@dataclass(slots=True, frozen=True)
class Kept:
    """What is stored of an item that does not run: what another store needs in order to keep it just so.

    ``at`` is when it was set aside, in µs (0: it was not); ``form`` its record, or the envelope of an unreadable one.
    """

    id: str
    at: int
    form: bytes


@dataclass(slots=True, frozen=True)
class Planned:
    """What is kept of a schedule of a queue: two texts that the store does not read, its state and its last run."""

    queue: str
    name: str
    state: str
    run: str


@dataclass(slots=True, frozen=True)
class Tick:
    """What a tick of a schedule changes: its state from ``before`` (empty: nothing is kept of it) to ``after``, and
    ``record`` is pushed.

    ``unless`` is the id of an item that must have ended (be gone, dead or cancelled); ``limit`` the most that may wait
    in the queue (0: no limit).
    """

    queue: str
    name: str
    before: str
    after: str
    record: bytes | None = None
    unless: str = ""
    limit: int = 0


class Ticked(StrEnum):
    """What became of a tick. All but the first changed nothing."""

    TAKEN = "taken"
    #: The state is another one.
    CHANGED = "changed"
    #: The item that was to have ended has not.
    BUSY = "busy"
    #: The queue is full.
    FULL = "full"


class CancelReply(StrEnum):
    """What became of a cancel: done at once, stored as a wish for the running execution, or no such live item."""

    CANCELLED = "cancelled"
    ASKED = "asked"
    UNKNOWN = "unknown"


#: A step of the ladder that a runner notes: it has told a run to stop; it has killed its worker for not stopping.
LadderStep = Literal["stopping", "killed"]


@dataclass(slots=True, frozen=True)
class Wish:
    """A stored wish that one running execution be cancelled. The first one for an execution counts.

    Times are seconds since the epoch on the owner's clock: when it was asked for, when the runner told the run to
    stop, and when it killed it for not stopping (None: not come to that). A crash of the owner may forget the last two.
    """

    execution: int
    by: str
    reason: str
    asked_at: float = 0.0
    stopping_at: float | None = None
    killed_at: float | None = None

    def stamps(self) -> dict[str, float]:
        """The times that there are, by name."""
        times = {"asked_at": self.asked_at, "stopping_at": self.stopping_at, "killed_at": self.killed_at}
        return {name: at for name, at in times.items() if at}


@dataclass(slots=True, frozen=True)
class CancelCount:
    """What became of a cancel of many: ``cancelled`` at once, and ``asked`` to stop (runs asked before do not count).

    ``before`` is None when nothing is left to do; else the same order is to be given again with it: it divides what was
    pushed before the order was given first, which is meant, from what was pushed after it.
    """

    cancelled: int = 0
    asked: int = 0
    before: int | None = None


@dataclass(slots=True, frozen=True)
class CancelOutcome:
    """How a run ended that had been asked to stop: ``cancelled``, or ``done`` or ``dead`` when that came first.

    ``wish`` has who asked, and the steps of the ladder; ``ended_at`` is seconds since the epoch.
    """

    outcome: Outcome
    wish: Wish
    ended_at: float


@dataclass(slots=True, frozen=True)
class Problem:
    """Something that ``check`` found: where, what, and whether ``repair`` mends it without losing an item."""

    where: str
    what: str
    repairable: bool = True


@dataclass(slots=True, frozen=True)
class Progress:
    """What a worker that is gone had reached: execution numbers, as it left them on its slate (0: none)."""

    started: int
    finished: int
    #: Executions of the batch that ran, whose items its handler had called handled already.
    handled: frozenset[int] = frozenset()
    #: Of a worker that ran several at once: who ran, though younger ones are finished.
    running: frozenset[int] = frozenset()

    def ended(self, execution: int) -> bool:
        """Whether the worker came to the end of this execution."""
        return execution <= self.finished and execution not in self.running


#: Asked by ``own`` for each owner of a lease it finds: how far that worker came. None: nothing is known about it.
Witness = Callable[[str], Progress | None]


def item_id(text: str) -> bytes:
    """The id that this text means; empty when it means none."""
    try:
        found = bytes.fromhex(text)
    except (ValueError, TypeError):
        return b""
    return found if len(found) == 16 else b""
