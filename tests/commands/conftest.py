"""A store with items in every state, with and without a runner, and ``manage.py graceful`` in this process."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from django_graceful import queue, queues
from django_graceful.items import Outcome, encode_record, new_id
from django_graceful.stores import get_store
from django_graceful.stores.base import Ending
from django_graceful.stores.leveldb import LevelDBStore
from tests.control.serving import serving

ERROR = {"type": "ValueError", "message": "no \x1b[31mluck", "traceback": "Traceback:\n  File x\n\x1b[2Jboom"}
STATUS = {
    "pid": 4711,
    "phase": "running",
    "since": 1_790_000_000.0,
    "hammer_in": None,
    "workers": {"busy": 1, "idle": 2, "starting": 0},
    "running": [
        {"queue": "mail", "item": "ab" * 16, "items": 3, "execution": 5, "pid": 4712, "seconds": 7.25},
    ],
}


def record(payload: bytes = b"1", *, delay: float = 0, key: str = "") -> bytes:
    now = time.time_ns() // 1000
    due = now + int(delay * 1e6) if delay else 0
    return encode_record(new_id(), payload, key=key, pushed_at=now, not_before=due)


@dataclass
class Shop:
    """The store of a test. ``ids`` has one item for each state of queue ``mail``, by the state's name."""

    store: LevelDBStore
    served: bool
    ids: dict[str, str] = field(default_factory=dict)

    def push(self, name: str, *records: bytes) -> list[str]:
        return [one.hex() for one in self.store.push(name, records)]


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The queues that the code declares."""
    found: dict[str, Any] = {}
    monkeypatch.setattr(queues, "_registry", found)
    queue("mail")(lambda payload: None)
    queue("thumbnails")(lambda payload: None)
    return found


@pytest.fixture(params=["alone", "served"])
def shop(request: pytest.FixtureRequest, store_path: Path) -> Iterator[Shop]:
    """Queue ``mail`` with items in every state, and a queue ``old`` that no code declares."""
    store = get_store()
    assert isinstance(store, LevelDBStore)
    found = Shop(store, served=request.param == "served")
    owner = store.own()
    owner.prepare()
    fill(found, owner)
    if not found.served:
        owner.close()
        yield found
        return
    assert len(owner.lease("mail", 1, "worker")) == 1
    found.ids["running"], found.ids["waiting"] = found.ids["waiting"], found.ids["second"]
    with serving(store_path, owner, extra={"runner_status": lambda: STATUS, "shutdown": lambda: "draining"}):
        yield found
    owner.close()


def fill(shop: Shop, owner: Any) -> None:
    endings: dict[str, Callable[[int], Ending]] = {
        "retrying": lambda run: Ending(run, Outcome.RETRY, delay=3600, error=ERROR),
        "dead": lambda run: Ending(run, Outcome.DEAD, error=ERROR, reason="no attempt left"),
        "cancelled": lambda run: Ending(run, Outcome.CANCELLED, by="anna", reason="wrong \x1b list"),
    }
    for state, ending in endings.items():
        shop.ids[state] = owner.push("mail", [record(b'{"to": "\\u001b]0;owned"}', key=f"key-{state}")])[0].hex()
        (lease,) = owner.lease("mail", 1, "worker")
        owner.finish((), [ending(lease.execution)])
    shop.ids["scheduled"] = owner.push("mail", [record(delay=7200)])[0].hex()
    shop.ids["waiting"], shop.ids["second"] = (one.hex() for one in owner.push("mail", [record(), record(b"not json")]))
    shop.ids["old"] = owner.push("old", [record()])[0].hex()


class Output(io.StringIO):
    """What a command wrote; a terminal when the test says so."""

    terminal = False

    def isatty(self) -> bool:
        return self.terminal


@dataclass
class Console:
    """Calls the command. ``said`` is what it last wrote for people to stderr."""

    said: str = ""

    def __call__(self, *args: str, terminal: bool = False, **options: Any) -> str:
        out, err = Output(), Output()
        out.terminal = terminal
        try:
            call_command("graceful", *args, stdout=out, stderr=err, **options)
        finally:
            self.said = err.getvalue()
            self.written = out.getvalue()
        return self.written

    def json(self, *args: str) -> Any:
        return json.loads(self(*args, "--json"))

    def failing_json(self, *args: str) -> Any:
        """The JSON of a call that fails, which is written all the same."""
        from django.core.management.base import CommandError

        with pytest.raises(CommandError) as caught:
            self(*args, "--json")
        return json.loads(self.written), str(caught.value)


@pytest.fixture
def graceful() -> Console:
    return Console()
