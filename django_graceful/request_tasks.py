"""A request under ASGI: the task that works for it, and the thread that its sync code runs in.

asgiref runs the sync code of a request (sync views and middleware, templates, the ORM behind ``await``) in a thread
that is the request's own, through an executor which it keeps by context. :class:`Threads` stands in that place, so
that what runs there can be interrupted, and be waited for when the task was cancelled: asgiref leaves it behind then.
Code that a site runs with ``thread_sensitive=False`` goes past it. All of this runs in the loop of the request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from asgiref.sync import SyncToAsync

from django_graceful.exceptions import Cancelled
from django_graceful.request_process import RequestProcess, logger

Result = TypeVar("Result")


#: While code runs in the thread, it is looked that often whether its client is gone, in seconds.
_LOOK = 0.25


class Threads(Executor):
    """The executor of the current context, guarded until :meth:`restore`."""

    def __init__(self, process: RequestProcess) -> None:
        self._process = process
        self._last: Future[Any] | None = None
        self._look: asyncio.TimerHandle | None = None
        self._context = SyncToAsync.thread_sensitive_context.get(None)
        self._inner: Executor | None = None
        if self._context is not None:
            self._inner = SyncToAsync.context_to_thread_executor.get(self._context)
            SyncToAsync.context_to_thread_executor[self._context] = self

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        """Run it in the request's thread; what the request's task wants is interrupted with the request."""
        if self._inner is None:
            self._inner = ThreadPoolExecutor(max_workers=1)
        if not self._process.in_hand:
            return self._inner.submit(function, *arguments, **options)
        self._last = self._inner.submit(self._process.call, function, *arguments, **options)
        self._look_again()
        return self._last

    def _look_again(self) -> None:
        if self._look is None:
            self._look = asyncio.get_running_loop().call_later(_LOOK, self._look_for_client)

    def _look_for_client(self) -> None:
        """A cancelled task does not always wake up: asgiref waits for what a sync middleware has called."""
        self._look = None
        if self._last is None or self._last.done():
            return
        if self._process.given_up:
            self._process.desert()
        else:
            self._look_again()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """asgiref's, at the end of its context."""
        if self._inner is not None:
            self._inner.shutdown(wait, cancel_futures=cancel_futures)

    def restore(self) -> None:
        """The request is over: nothing is interrupted any more."""
        if self._look is not None:
            self._look.cancel()
        kept = SyncToAsync.context_to_thread_executor
        if self._context is None or kept.get(self._context) is not self:
            return
        if self._inner is None:
            del kept[self._context]
        else:
            kept[self._context] = self._inner

    async def settle(self) -> None:
        """Wait until nothing runs in the thread, however often the task is cancelled meanwhile."""
        last, done = self._last, asyncio.Event()
        if last is None:
            return
        loop = asyncio.get_running_loop()

        def wake(_: Future[Any]) -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(done.set)

        last.add_done_callback(wake)
        while not done.is_set():
            with suppress(asyncio.CancelledError):
                await done.wait()
        error = None if last.cancelled() else last.exception()
        if isinstance(error, Exception):
            logger.error("%s failed after its client had gone", self._process.description, exc_info=error)


async def attend(process: RequestProcess, threads: Threads, work: Awaitable[Result]) -> Result:
    """Await ``work`` as a part of the request.

    Raises :class:`Cancelled` when the process is cancelled, and ``CancelledError`` when somebody else cancels the task:
    the server does when the client is gone. Nothing of it runs any more then, in no thread.
    """
    with process.in_task():
        try:
            return await work
        except asyncio.CancelledError:
            if process.given_up:
                process.desert()
            await threads.settle()
            if process.stop is None or not process.cancels or process.given_up:
                raise
            raise Cancelled(process.stop.reason) from None
