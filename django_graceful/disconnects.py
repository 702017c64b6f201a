"""Views that run to their end although the client is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, TypeVar, cast

from asgiref.sync import iscoroutinefunction

from django_graceful.request_process import RequestProcess, requesting

View = TypeVar("View", bound=Callable[..., Any])


def finish_on_disconnect(view: View) -> View:
    """Under ASGI, let ``view`` run to its end when the client goes away, instead of cancelling it.

    For sync and async views, and with ``method_decorator``. Nobody gets its response then; what it raises is logged.
    A cancel from elsewhere, and the hammer, end it as any other. Under WSGI nobody notices that a client is gone.
    """
    if iscoroutinefunction(view):

        @wraps(view)
        async def finishing_async(*arguments: Any, **options: Any) -> Any:
            process = requesting()
            if process is None:
                return await view(*arguments, **options)
            process.finishes = True
            return await _to_its_end(process, view(*arguments, **options))

        return cast(View, finishing_async)

    @wraps(view)
    def finishing(*arguments: Any, **options: Any) -> Any:
        process = requesting()
        if process is None:
            return view(*arguments, **options)
        process.finishes = True
        found = view(*arguments, **options)
        return _to_its_end(process, found) if asyncio.iscoroutine(found) else found  # the dispatch of async views

    return cast(View, finishing)


async def _to_its_end(process: RequestProcess, work: Coroutine[Any, Any, Any]) -> Any:
    view = asyncio.create_task(work)
    gone: asyncio.CancelledError | None = None
    told = False
    while not view.done():
        try:
            await asyncio.wait([view])
        except asyncio.CancelledError as error:
            if process.stop is None or told:
                gone = error
            else:
                told = view.cancel()
    if gone is not None and (view.cancelled() or view.exception() is None):
        raise gone
    return view.result()
