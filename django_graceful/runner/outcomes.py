"""What becomes of an item after its handler ended: decisions as plain functions on values.

The worker decides, because it has the exception and the queue's options; the master writes it down.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django_graceful.exceptions import Cancelled, CancelProcess, Discard, Retry
from django_graceful.items import Outcome
from django_graceful.options import Options, is_whole
from django_graceful.retry import backoff
from django_graceful.runner.slate import Why
from django_graceful.stores.base import Ending

#: The reason of what a shutdown interrupted.
SHUTDOWN = "shutdown"
#: Bytes of a traceback that are kept, from its end.
_TRACEBACK = 16_384
_MESSAGE = 2_000


class Verdict(Exception):
    """Raised by a handler of this package that has itself decided how its run ends (execution 0 stands for its own)."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.reason)
        self.ending = ending


def own_options(options: Options, meta: Mapping[str, Any]) -> Options:
    """The queue's options, with what this item says for itself: ``max_attempts`` in its meta."""
    limit = meta.get("max_attempts")
    if not isinstance(limit, int) or not is_whole(limit) or limit < 1:
        return options
    return replace(options, max_attempts=limit)


def describe(error: BaseException) -> dict[str, Any]:
    """The error as it is kept with the item; the store adds when, and in which attempt."""
    lines = traceback.format_exception(error)
    return {
        "type": f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins."),
        "message": str(error)[:_MESSAGE],
        "traceback": "".join(lines)[-_TRACEBACK:],
    }


def failed(execution: int, error: BaseException, failures: int, options: Options, spread: float) -> Ending:
    """The ending of an execution whose handler raised ``error``, with ``failures`` failed runs before this one.

    ``spread`` is the random number of :func:`~django_graceful.retry.backoff`.
    """
    attempt = failures + 1
    if isinstance(error, CancelProcess):
        return Ending(execution, Outcome.CANCELLED, reason=error.reason, by="the handler")
    if isinstance(error, Discard):
        return Ending(execution, Outcome.DEAD, error=describe(error), reason=error.reason or "discarded")
    detail = describe(error)
    if attempt >= options.max_attempts:
        reason = getattr(error, "reason", "") or f"{detail['type']}: {detail['message']}"
        return Ending(execution, Outcome.DEAD, error=detail, reason=reason)
    wish = error.delay if isinstance(error, Retry) else None
    wait = backoff(attempt, options.backoff, options.backoff_max, spread) if wish is None else max(0.0, wish)
    return Ending(execution, Outcome.RETRY, delay=wait, error=detail)


def stopped(
    execution: int,
    why: Why,
    failures: int,
    options: Options,
    *,
    spread: float,
    batch: bool = False,
    limit: float | None = None,
) -> Ending:
    """The ending of an execution that was stopped from outside, whether by the exception or by SIGKILL.

    ``limit`` is how long it was allowed to run, where that is not the queue's ``timeout``.

    A ``batch`` is stopped when one of its items is cancelled: they all are interrupted, and the store, which knows what
    was wished for, cancels those that are meant.
    """
    if why == Why.SHUTDOWN:
        return Ending(execution, Outcome.INTERRUPTED, reason=SHUTDOWN)
    if why == Why.CANCEL and batch:
        return Ending(execution, Outcome.INTERRUPTED, reason="an item of its batch was cancelled")
    if why == Why.CANCEL:
        return Ending(execution, Outcome.CANCELLED)
    ending = failed(execution, Cancelled("timeout"), failures, options, spread)
    error = (ending.error or {}) | {
        "type": "timed out",
        "message": f"ran longer than {options.timeout if limit is None else limit:g} s",
        "traceback": "",
    }
    return Ending(execution, ending.outcome, delay=ending.delay, error=error, reason="timed out")
