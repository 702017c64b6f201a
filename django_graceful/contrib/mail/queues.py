"""The queue ``mail``. An item is one message; a batch shares one connection."""

from __future__ import annotations

from typing import Any

from django_graceful import queue
from django_graceful.batches import BatchFailure
from django_graceful.contrib.mail.delivery import deliver
from django_graceful.contrib.mail.loop import QUEUE


# 20 attempts take about half a day; the timeout ends the wait for a server that accepts and never answers
@queue(QUEUE, batch_length=20, max_workers=2, max_attempts=20, backoff=10, backoff_max=3600, timeout=600)
def mail(payloads: Any) -> list[BatchFailure]:
    """Deliver these messages; what was not delivered, with its error.

    A site may set ``BATCH_LENGTH`` to 1: then it is one message, and its error is raised.
    """
    if mail.options.batch_length > 1:
        return deliver(payloads, _push_rest)
    for failure in deliver([payloads], _push_rest):
        raise failure.error
    return []


def _push_rest(payload: dict[str, Any], again: bool) -> None:
    mail.push(payload, delay=mail.options.backoff if again else None)
