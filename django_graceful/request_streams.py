"""The content of a streaming response, as a part of its request: the process lives until it is read or closed.

What makes the content runs with the process as the current one, and is interrupted with it. A response that has begun
can not become an error page: the connection is cut, so that the client sees that it is incomplete.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

import django
from django.core.exceptions import RequestAborted
from django.http.response import HttpResponseBase

from django_graceful.exceptions import Cancelled
from django_graceful.request_process import RequestProcess
from django_graceful.request_tasks import Threads, attend

#: With this in the middle of a response, Django's ASGI handler closes it, and says nothing to the server.
_QUIET = RequestAborted if django.VERSION >= (6, 1) else asyncio.CancelledError

End = Callable[[], object]


class ResponseCut(ConnectionResetError):
    """Raised to a server in the middle of a response whose request was cancelled. gunicorn takes it quietly."""

    def __init__(self) -> None:
        super().__init__(errno.ECONNRESET, "the request was cancelled in the middle of its response")


def keep(process: RequestProcess, response: HttpResponseBase, end: End, threads: Threads | None = None) -> None:
    """Call ``end`` when ``response`` is over: at once when nothing of it is left to make.

    ``threads`` is that of an ASGI request.
    """
    if not response.streaming:
        end()
        return
    process.rest()
    streaming: Any = response
    if getattr(response, "file_to_stream", None) is not None:
        pass  # an open file is the server's, which may send it by itself
    elif streaming.is_async:
        streaming.streaming_content = AsyncContent(process, streaming.streaming_content, end, threads)
    else:
        streaming.streaming_content = Content(process, streaming.streaming_content, end)
    _close_within(process, streaming, end)


class Content(Iterator[bytes]):
    """What a sync iterator gives."""

    def __init__(self, process: RequestProcess, content: Iterator[bytes], end: End) -> None:
        self._process, self._content, self._end = process, content, end

    def __next__(self) -> bytes:
        try:
            with self._process.current():
                return self._process.call(self._step)
        except Cancelled:
            self._end()
            raise ResponseCut from None
        except BaseException:
            self._end()
            raise

    def _step(self) -> bytes:
        self._process.heed()
        return next(self._content)


class AsyncContent(AsyncIterator[bytes]):
    """What an async iterator gives. Under WSGI (no ``threads``) Django reads it in a loop of its own."""

    def __init__(
        self, process: RequestProcess, content: AsyncIterator[bytes], end: End, threads: Threads | None
    ) -> None:
        self._process, self._content, self._end = process, content, end
        self._threads = threads or Threads(process)
        self._cut: type[BaseException] = ResponseCut if threads is None else _QUIET

    async def __anext__(self) -> bytes:
        try:
            with self._process.current():
                return await attend(self._process, self._threads, self._step())
        except Cancelled:
            self._end()
            raise self._cut from None
        except BaseException:
            self._end()
            raise

    async def _step(self) -> bytes:
        self._process.heed()
        return await anext(self._content)


def _close_within(process: RequestProcess, response: Any, end: End) -> None:
    """What the response has to close is closed as a part of the process, then that ends."""
    closers = list(response._resource_closers)

    def close() -> None:
        try:
            with process.current():
                for closer in closers:
                    with suppress(Exception, Cancelled):
                        closer()
        finally:
            end()

    response._resource_closers[:] = [close]
