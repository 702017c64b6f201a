"""The supervisor as a node: it answers in its command's place when that can not, because C code of it holds the
interpreter's lock.

It joins as the *stand-in* of the command's node when a process of the command runs, in threads of its own, so that a
store that is away holds nothing up. What it tells stands on the page. A cancel becomes the page's wish, and from then
on it is as if the command had heard it: interrupted, and killed after ``CANCEL_GRACE``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured

from django_graceful.conf import get_conf
from django_graceful.exceptions import GracefulError
from django_graceful.management.page import Field, Page, Wish
from django_graceful.native import Thread
from django_graceful.nodes import names, table
from django_graceful.processes import Stop
from django_graceful.stores import get_store
from django_graceful.stores.exchange import Exchange

#: Seconds that its end waits for a joining that is under way.
_PATIENCE: Final = 0.5


@dataclass(slots=True, frozen=True)
class State:
    """What the supervisor knows: the phase, and when the command was asked to stop, if it was (epoch seconds)."""

    phase: str
    asked_at: float


class Deputy:
    """Make it before the fork, with what the command is for people; the rest is the supervisor's."""

    def __init__(self, page: Page, description: str) -> None:
        self._page, self._description = page, description
        self._since = time.time()
        self._joined: list[Exchange] = []
        self._joining: Thread | None = None

    def begin(self, child: int, state: Callable[[], State], on_wish: Callable[[], None]) -> None:
        """Be there for the command, which is this child. ``on_wish`` is called in another thread when somebody cancels
        it here. Idempotent.
        """
        if self._joining is None and self._page.process:
            self._child, self._state, self._on_wish = child, state, on_wish
            with suppress(OSError, RuntimeError):  # there is no room for it, which the command says for itself
                self._joining = Thread(self._join)

    def end(self) -> None:
        """Not visible any more."""
        if self._joining is not None and self._joining.join(_PATIENCE):
            while self._joined:
                self._joined.pop().leave()

    def _join(self) -> None:
        name = names.stand_in(self._page.process.partition(".")[0])
        with suppress(ImproperlyConfigured):
            for alias in get_conf().stores:
                with suppress(GracefulError):  # the command has the same trouble, and tells of it
                    exchange = get_store(alias).exchange()
                    exchange.join(name, lambda: self._describe(name), self._obey)
                    self._joined.append(exchange)

    def _describe(self, name: str) -> dict[str, Any]:
        rows = [self._row(self._page.process)] if self._page.process else []
        more = {"node": name, "pid": self._child, "processes": rows, "left_out": 0}
        return table.frame("command", self._since, self._state().phase) | more

    def _row(self, process_id: str) -> dict[str, Any]:
        said = self._page.progress
        return {
            "id": process_id,
            "description": self._description,
            "kind": "command",
            "since": self._since,
            "parent": None,
            "progress": said and {"done": table.number(said[0]), "total": table.number(said[1]), "step": said[2]},
            "commands": [],
            "system": False,
            "stop": table.stop_of(self._stop()),
        }

    def _stop(self) -> Stop | None:
        wish, asked_at = self._page.wish, self._state().asked_at
        if wish is not None:
            return Stop("cancel", wish.by, wish.note, asked_at)
        return Stop("shutdown", asked_at=asked_at) if self._page.words[Field.STRUCK] else None

    def _obey(self, order: dict[str, Any]) -> dict[str, Any]:
        if not self._page.process or order.get("cancel") != self._page.process:
            return {"reply": "unknown"}
        self._page.note_wish(Wish(str(order.get("by", "")), str(order.get("note", ""))))
        self._on_wish()
        return {"reply": "asked"}
