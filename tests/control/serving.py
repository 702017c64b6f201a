"""A control server in a thread of this process, over an admin that records what it is asked."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django_graceful.items import Item, Outcome, State
from django_graceful.stores.base import (
    CancelCount,
    CancelOutcome,
    CancelReply,
    Counts,
    Found,
    Page,
    Planned,
    Problem,
    StoreAdmin,
    Tick,
    Ticked,
    Wish,
)
from django_graceful.stores.leveldb.control import LENGTH, SOCKET
from django_graceful.stores.leveldb.server import ControlServer

FOUND = Found(
    Item(
        "0190" * 8,
        "mäil",
        key="k\u0000\udcff",
        priority=-3,
        attempt=2,
        crashes=1,
        pushed_at=1.5,
        not_before=2.25,
        flags=3,
        meta={"errors": [{"type": "ValueError", "at": 1.0}]},
        payload_json=b'{"a": "\xff\xfe \xc3\xa4"}',
    ),
    State.DEAD,
    {"died_at": 12.5, "reason": "no", "by": "anna", "execution": 1 << 60},
)


class FakeAdmin(StoreAdmin):
    """Answers with fixed values; ``asked`` has the calls with their arguments; ``error`` is raised when it is set."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.error: Exception | None = None
        self.found: Found | None = FOUND

    def _note(self, *call: Any) -> None:
        self.asked.append(call)
        if self.error:
            raise self.error

    def counts(self) -> dict[str, Counts]:
        self._note("counts")
        return {"mäil": Counts(waiting=3, oldest_age=1.25, paused=True), "x" * 100: Counts()}

    def get(self, item_id: str) -> Found | None:
        self._note("get", item_id)
        return self.found

    def has(self, queue: str, key: str) -> bool:
        self._note("has", queue, key)
        return True

    def page(self, queue: str, state: State, after: str | None = None, limit: int = 100) -> Page:
        self._note("page", queue, state, after, limit)
        return Page([FOUND] * min(limit, 2), after="next")

    def retry(self, queue: str, ids: Any = None) -> int:
        self._note("retry", queue, ids)
        return 7

    def discard(self, queue: str, state: State, ids: Any = None) -> int:
        self._note("discard", queue, state, ids)
        return 1 << 40

    def request_cancel(self, item_id: str, by: str = "", reason: str = "") -> CancelReply:
        self._note("request_cancel", item_id, by, reason)
        return CancelReply.ASKED

    def cancel_some(
        self, queue: str, key: Any = None, by: str = "", reason: str = "", *, before: Any = None
    ) -> CancelCount:
        self._note("cancel_some", queue, key, by, reason, before)
        return CancelCount(3, 1, None if before else 7)

    def cancel_outcome(self, item_id: str) -> CancelOutcome | None:
        self._note("cancel_outcome", item_id)
        return CancelOutcome(Outcome.DONE, Wish(1 << 60, "anna", "slow", 1.5, stopping_at=1.75), 2.25)

    def pause(self, queue: str) -> None:
        self._note("pause", queue)

    def resume(self, queue: str) -> None:
        self._note("resume", queue)

    def result(self, item_id: str) -> dict[str, Any] | None:
        self._note("result", item_id)
        return {"result": '{"n":1}', "finished_at": 3.5}

    def schedules(self) -> list[Planned]:
        self._note("schedules")
        return [Planned("mäil", "nightly", '{"last": 5}', "")]

    def tick(self, tick: Tick) -> Ticked:
        self._note("tick", tick)
        return Ticked.BUSY

    def forget_handovers(self, age: float) -> int:
        self._note("forget_handovers", age)
        return 5

    def check(self) -> list[Problem]:
        self._note("check")
        return [Problem("queue mail", "a count is wrong"), Problem("item 1", "is gone", repairable=False)]

    def repair(self) -> list[Problem]:
        self._note("repair")
        return []


@contextmanager
def serving(
    directory: Path,
    admin: StoreAdmin,
    mode: int = 0o600,
    extra: Mapping[str, Callable[..., Any]] | None = None,
    after: Callable[[], None] = lambda: None,
) -> Iterator[ControlServer]:
    """Serve until the block ends; every task of the loop is over then."""
    loop = asyncio.new_event_loop()
    server = ControlServer(directory, admin, mode, extra, after)
    try:
        loop.run_until_complete(server.start())
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            yield server
        finally:
            asyncio.run_coroutine_threadsafe(server.close(), loop).result(10)
            asyncio.run_coroutine_threadsafe(_settle(), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)
    finally:
        loop.close()


async def _settle() -> None:
    """Until no task is left, nor a transport that has yet to close its socket."""
    mine = asyncio.current_task()
    for _ in range(5):
        await asyncio.gather(*(task for task in asyncio.all_tasks() if task is not mine), return_exceptions=True)
        await asyncio.sleep(0)


def raw(directory: Path) -> socket.socket:
    """A plain connection to the control socket, with a time limit that only a hang would reach."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(10)
    sock.connect(str(directory / SOCKET))
    return sock


def read_frame(sock: socket.socket) -> bytes:
    """One frame's body; empty at the end of the stream."""
    data = _read(sock, LENGTH.size)
    return _read(sock, LENGTH.unpack(data)[0]) if data else b""


def _read(sock: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        part = sock.recv(length - len(data))
        if not part:
            return b""
        data += part
    return data
