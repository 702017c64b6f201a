"""For ASGI servers without gunicorn: the end of the process, as the server tells it to the application.

Such a server (uvicorn) may end its process without ``atexit``. Wrap the application, and what is in memory is handed
over when it stops::

    # mysite/asgi.py
    application = Lifespan(get_asgi_application())
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from asgiref.sync import sync_to_async

from django_graceful.spill.ending import leave

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


class Lifespan:
    """An ASGI application around another one, which hears of everything but ``lifespan``: Django knows none."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One connection, or the life of the server."""
        if scope["type"] != "lifespan":
            await self._application(scope, receive, send)
            return
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await sync_to_async(leave, thread_sensitive=False)()
                await send({"type": "lifespan.shutdown.complete"})
                return
            await send({"type": "lifespan.startup.complete"})
