"""How what was asked to stop came out: the words for it, and waiting for it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from django_graceful import nodes
from django_graceful.console.desks import Desks
from django_graceful.console.text import duration
from django_graceful.items import Outcome, State
from django_graceful.stores.base import StoreAdmin

CANCELLED = str(Outcome.CANCELLED)
#: What became of a process, of which no more is known than that it is not there; and of an item, when nobody knows.
ENDED, LOST = "ended", "lost"
#: Seconds between two looks, at first and at last.
_PAUSE, _LONGEST_PAUSE = 0.01, 0.2


@dataclass(slots=True)
class Asked:
    """One that was to be cancelled: the reply, and later its outcome, ``seconds`` after it was asked."""

    id: str
    store: str | None
    reply: str
    outcome: str | None = None
    seconds: float | None = None
    killed: bool = False

    def data(self, patience: float | None) -> dict[str, Any]:
        """For ``--json``; ``patience`` is None when nobody waited."""
        shown: dict[str, Any] = {"id": self.id, "store": self.store, "reply": self.reply}
        if patience is not None and self.reply == "asked":
            shown |= {"outcome": self.outcome, "seconds": self.seconds, "killed": self.killed}
        return shown

    def text(self, patience: float | None) -> str:
        """What became of it, in words; empty when nobody waited, or when it was not running."""
        if patience is None or self.reply != "asked":
            return ""
        if self.outcome is None:
            return f"still runs after {duration(patience)}"
        if self.outcome == LOST:
            return "has ended; how is not known any more"
        took = f"{self.seconds or 0.0:.2f} s"
        if self.outcome in (CANCELLED, ENDED):
            return f"killed after {took}" if self.killed else f"{self.outcome} after {took}"
        return f"finished first ({self.outcome}) {took} after it was asked"


def await_ends(desks: Desks, asked: list[Asked], patience: float) -> None:
    """Until each has its outcome, or ``patience`` seconds have passed."""
    began, pause = time.monotonic(), _PAUSE
    while True:
        asked = [one for one in asked if one.outcome is None]
        listed = _listed() if any(one.store is None for one in asked) else frozenset()
        for one in asked:
            if one.store is not None:
                _look_at_item(desks.desk(one.store), one)
            elif one.id not in listed:
                one.outcome, one.seconds = ENDED, time.monotonic() - began
        if all(one.outcome for one in asked) or time.monotonic() - began > patience:
            return
        time.sleep(pause)
        pause = min(_LONGEST_PAUSE, pause * 1.5)


def _listed() -> frozenset[str]:
    return frozenset(row["id"] for node in nodes.running() for row in node.get("processes", ()))


def _look_at_item(desk: StoreAdmin, one: Asked) -> None:
    found = desk.get(one.id)
    if found is not None and found.state is State.RUNNING:
        return
    said = desk.cancel_outcome(one.id)  # asked last: it may have ended just now
    if said is not None:
        one.outcome, one.killed = str(said.outcome), said.wish.killed_at is not None
        one.seconds = max(0.0, said.ended_at - said.wish.asked_at)
        return
    # A runner that was started again has forgotten all but the item.
    one.outcome = CANCELLED if found is not None and found.state is State.CANCELLED else LOST
    _read_detail(one, {} if found is None else found.detail)


def _read_detail(one: Asked, detail: dict[str, Any]) -> None:
    one.killed = "killed_at" in detail
    if "asked_at" in detail and "cancelled_at" in detail:
        one.seconds = max(0.0, detail["cancelled_at"] - detail["asked_at"])
