"""Each web request is a process: listed, cancellable, and its subprocesses end with it (promises P5, P6, P10).

``"django_graceful.middleware.ProcessMiddleware"`` in ``MIDDLEWARE``, first is best: what stands before it is not part
of the process. ``current_process()`` in a view is that of its request; ``run()`` and ``arun()`` are listed below it and
end with it: when it is cancelled, when the view raises, when the response is finished (a streaming one: when it is
closed), and under ASGI when the client goes away.

Runs in the thread or task of the request, under WSGI and ASGI. A cancelled request is answered with 503; the exception
never gets to the server.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from django_graceful.disconnects import finish_on_disconnect
from django_graceful.exceptions import Cancelled
from django_graceful.request_process import RequestProcess, begin, cancel_requests, logger
from django_graceful.request_streams import keep
from django_graceful.request_tasks import Threads, attend

__all__ = ["ProcessMiddleware", "cancel_requests", "finish_on_disconnect"]

#: What a client is told to wait when the node is stopping, in seconds.
RETRY_AFTER = 5


class _Modes(type):
    """What Django asks a middleware's class when it puts a chain together."""

    async_capable = True

    @property
    def sync_capable(cls) -> bool:
        """Only under WSGI. Django would choose this mode under ASGI too as soon as one middleware below is sync, and
        in a thread nobody hears that the client is gone. Which handler the chain is for, only its caller knows.
        """
        return not sys._getframe(1).f_locals.get("is_async", False)


class ProcessMiddleware(metaclass=_Modes):
    """Makes a process of each request."""

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Coroutine[Any, Any, HttpResponseBase]:
        """The response; under ASGI a coroutine for it."""
        return self._serve_async(request) if self._is_async else self._serve(request)

    def _serve(self, request: HttpRequest) -> HttpResponseBase:
        process = begin(request)
        try:
            response = self._respond(request, process)
        except BaseException:
            process.end()
            raise
        keep(process, response, process.end)
        return response

    def _respond(self, request: HttpRequest, process: RequestProcess) -> HttpResponseBase:
        try:
            process.heed()
            response: HttpResponseBase = process.call(self.get_response, request)
        except Cancelled:
            return refuse(process)
        except asyncio.CancelledError:  # of an async view, which had a loop of its own
            if process.stop is None:
                raise
            return refuse(process)
        return response

    async def _serve_async(self, request: HttpRequest) -> HttpResponseBase:
        process = begin(request)
        threads = Threads(process)

        def end() -> None:
            threads.restore()
            process.end()

        try:
            response = await self._respond_async(request, process, threads)
        except BaseException:
            end()
            raise
        keep(process, response, end, threads)
        return response

    async def _respond_async(self, request: HttpRequest, process: RequestProcess, threads: Threads) -> HttpResponseBase:
        try:
            process.heed()
            response: HttpResponseBase = await attend(process, threads, self.get_response(request))
        except Cancelled:
            return refuse(process)
        return response


def refuse(process: RequestProcess) -> HttpResponse:
    """What the client of a cancelled request gets. Raises ``Cancelled`` when what is around the request stops too."""
    stop, parent = process.stop, process.parent
    if parent is not None and parent.stopping:
        raise Cancelled("cancel" if stop is None else stop.reason)
    if stop is not None and stop.reason == "shutdown":
        text, headers = "The server is restarting. Please try again.", {"Retry-After": str(RETRY_AFTER)}
    else:
        text, headers = "This request was cancelled.", {}
    logger.info("%s (%s) was ended: %s", process.description, process.id, _why(process))
    response = HttpResponse(f"{text}\n", "text/plain; charset=utf-8", 503, headers=headers)
    vars(response)["_has_been_logged"] = True  # Django would log an error, which may send a mail
    return response


def _why(process: RequestProcess) -> str:
    stop = process.stop
    if stop is None:
        return "its view raised Cancelled"
    return stop.reason + (f", by {stop.by}" if stop.by else "") + (f": {stop.note}" if stop.note else "")
