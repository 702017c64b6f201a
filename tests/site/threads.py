"""Queues of coroutines that use the database, in the thread of ``sync_to_async``."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connection

from django_graceful import queue
from tests.site.queues import say


async def _connect(payload: dict[str, Any]) -> None:
    """As :func:`connected`, through ``sync_to_async``."""

    def use() -> None:
        say("connection", payload["n"], threading.get_ident(), connection.connection is not None)
        connection.ensure_connection()

    await sync_to_async(use)()
    say("start", payload["n"], os.getpid())
    await asyncio.sleep(payload.get("seconds", 0))


aconnected = queue("aconnected", max_workers=1)(_connect)
aconnected_tasks = queue("aconnected_tasks", threads=2, max_workers=1)(_connect)
