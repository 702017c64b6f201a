"""What a batch handler can say about single items of its batch. A value; nothing runs here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(slots=True, frozen=True, eq=False)
class BatchFailure:
    """One payload of a batch that was not handled, and why. A batch handler returns them in its list.

    ``payload`` is one of the objects that the handler got (found by identity, then by equality). ``error`` decides as
    if a handler for this one item had raised it: :class:`~django_graceful.exceptions.Discard` makes the item dead at
    once, :class:`~django_graceful.exceptions.Retry` sets the wait, any other exception is kept with the item and
    retried with the queue's backoff. A handler that is being stopped may name what it did not reach with the
    :class:`~django_graceful.exceptions.Cancelled` that it caught; then what it has finished stays finished.
    """

    payload: Any
    error: BaseException
