"""A memory store that spills to a LevelDB store, and queues of it that live as long as their test."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from django_graceful import queue, queues
from django_graceful.items import State
from django_graceful.lifecycle import node
from django_graceful.lifecycle.countdown import countdown
from django_graceful.queues import Queue
from django_graceful.spill import ending, fitness, stock
from django_graceful.spill.stock import Stock
from django_graceful.stores import close_stores, get_store
from django_graceful.stores.base import Found
from tests.harness import until


class Fast:
    """The store ``fast``, which spills to ``default``, and what became of its items."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.did: list[Any] = []
        #: Handlers that wait go on when this is set.
        self.go = threading.Event()

    def queue(self, handler: Callable[[Any], Any] | None = None, name: str = "q", **options: Any) -> Queue[Any]:
        """A queue of this store; its handler notes the payload, or is the given function."""

        def note(payload: Any) -> None:
            self.did.append(payload)

        made: Queue[Any] = queue(name, store="fast", **options)(handler or note)
        return made

    def waits(self, payload: Any) -> None:
        """A handler that ends when it is told to."""
        self.did.append(payload)
        while not self.go.wait(0.01):
            pass

    @property
    def stock(self) -> Stock:
        [found] = stock.stocks()
        return found

    def idle(self) -> None:
        """Wait until nothing runs and nothing could."""
        until(lambda: not self.stock.busy and not self.stock.inlet and not self.stock.keeper.depths.waiting.get("q"),
              "all items to be handled")  # fmt: skip

    def begun(self, number: int) -> None:
        until(lambda: len(self.did) >= number, f"{number} items to begin")

    def over_there(self, name: str = "q") -> list[Found]:
        """What the other store holds of that queue."""
        with get_store("default").admin(alone=True) as admin:
            return [found for state in State for found in admin.page(name, state, limit=1000).items]

    def payloads(self, name: str = "q") -> list[Any]:
        return [found.item.payload for found in self.over_there(name)]


@pytest.fixture
def fast(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fast]:
    monkeypatch.setattr(queues, "_registry", {})
    monkeypatch.setattr(fitness, "_refused", False)
    monkeypatch.delitem(sys.modules, "gunicorn.app.base", raising=False)  # other tests read configurations with it
    monkeypatch.setattr(ending, "_expected", set())
    settings.GRACEFUL = {
        "STORES": {
            "default": {"BACKEND": "leveldb", "PATH": tmp_path / "store"},
            "fast": {"BACKEND": "memory", "SPILL_TO": "default", "THREADS": 2},
        },
        "KILL_AFTER": 1,
    }
    found = Fast(tmp_path / "store")
    node._renew()
    yield found
    found.go.set()
    for one in stock.stocks():
        one.close()
        one.hands.cancel("the test is over")
        until(lambda one=one: not one.busy, "what runs to end")
    stock.forget()
    countdown.clear()
    node._hooks.clear()
    node._renew()
    close_stores()
