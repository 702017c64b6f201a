"""Database connections in the thread of ``sync_to_async`` are looked after there, and never hold a worker up."""

from __future__ import annotations

import asyncio
import threading

import pytest
from asgiref.sync import sync_to_async

from django_graceful.runner import tidying
from django_graceful.runner.tidying import Tidier, tidy_thread


class Noted(Tidier):
    def __init__(self) -> None:
        super().__init__()
        self.threads: list[int] = []

    def after(self) -> None:
        self.threads.append(threading.get_ident())


def test_it_is_done_in_the_thread_that_the_handler_has_used() -> None:
    async def go() -> None:
        used = await sync_to_async(threading.get_ident)()
        noted = Noted()
        await tidy_thread(noted)
        assert noted.threads == [used]
        assert used != threading.get_ident()

    asyncio.run(go())


def test_a_thread_that_a_job_keeps_busy_is_not_waited_for_and_is_tidied_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tidying, "_PATIENCE", 0.01)
    busy, over = threading.Event(), threading.Event()

    def work() -> None:
        busy.set()
        over.wait(30)

    async def go() -> None:
        left = asyncio.ensure_future(sync_to_async(work)())
        while not busy.is_set():
            await asyncio.sleep(0)
        noted = Noted()
        await tidy_thread(noted)
        assert noted.threads == []
        over.set()
        await left
        await sync_to_async(lambda: None)()
        assert len(noted.threads) == 1

    asyncio.run(go())
