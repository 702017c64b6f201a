"""What a batch handler returned, sorted out: one problem (or none) for each payload. A pure function."""

from __future__ import annotations

from typing import Any

from django_graceful.batches import BatchFailure
from django_graceful.exceptions import Retry


def sort_batch(payloads: list[Any], returned: Any) -> list[BaseException | None]:
    """For each payload the error that its item ends with; None is done.

    A handler returns None or an empty list when it could handle everything, else the payloads that it could not
    (found by identity, then by equality), or a :class:`~django_graceful.batches.BatchFailure` with the payload and
    its own error. Anything else is the handler's bug: nothing can be believed then, and every item is retried with
    that error.
    """
    if returned is None:
        return [None] * len(payloads)
    if isinstance(returned, str | bytes | dict) or not hasattr(returned, "__iter__"):
        return _misused(
            payloads, f"a batch handler returns a list of what it could not handle, not {type(returned).__name__}"
        )
    errors: list[BaseException | None] = [None] * len(payloads)
    for entry in returned:
        failure = (
            entry if isinstance(entry, BatchFailure) else BatchFailure(entry, Retry(reason="returned as not handled"))
        )
        at = _find(payloads, errors, failure.payload)
        if at is None:
            return _misused(payloads, f"a batch handler returned what was not in its batch: {failure.payload!r:.200}")
        errors[at] = failure.error
    return errors


def _find(payloads: list[Any], errors: list[BaseException | None], wanted: Any) -> int | None:
    free = [at for at, error in enumerate(errors) if error is None]
    for at in free:
        if payloads[at] is wanted:
            return at
    for at in free:
        if payloads[at] == wanted:
            return at
    return None


def _misused(payloads: list[Any], text: str) -> list[BaseException | None]:
    return [TypeError(text)] * len(payloads)
