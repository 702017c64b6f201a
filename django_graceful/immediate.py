"""Queues with ``immediate=True``: the handler runs inside ``push``, for tests of a site.

The payload still makes its round trip through JSON. ``Retry``, and what a batch handler returns as not handled, run
again at once, up to ``max_attempts`` times; what is discarded or cancelled is dropped. Any other exception of the
handler, and the error of an item that no attempt could handle, reaches the caller of ``push``, so a test fails where
it should. Delays, priorities, timeouts, threads and unique keys have no meaning here. The handler finds a current
process, as in a worker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asgiref.sync import async_to_sync

from django_graceful.exceptions import CancelProcess, Discard, Retry
from django_graceful.items import decode_item, id_of
from django_graceful.processes import process
from django_graceful.runner.batch import sort_batch

if TYPE_CHECKING:
    from django_graceful.queues import Queue

#: What ends an item without a failure.
_ENDINGS = (Discard, CancelProcess)


def run_now(queue: Queue[Any], records: list[bytes]) -> list[bytes]:
    """Run the handler on every record, in batches as the queue declares; the ids. Raises what the handler raises."""
    payloads = [decode_item(queue.name, record).payload for record in records]
    handler = async_to_sync(queue.handler) if queue.is_async else queue.handler
    size, attempts = queue.options.batch_length, queue.options.max_attempts
    with process(f"{queue.name}: {len(records)} items"):
        if size == 1:
            for payload in payloads:
                _attempt(handler, payload, attempts)
        else:
            for at in range(0, len(payloads), size):
                _attempt_batch(handler, payloads[at : at + size], attempts)
    return [id_of(record) for record in records]


def _attempt(handler: Any, payload: Any, attempts: int) -> None:
    for left in range(attempts - 1, -1, -1):
        try:
            handler(payload)
            return
        except _ENDINGS:
            return
        except Retry:
            if not left:
                raise


def _attempt_batch(handler: Any, payloads: list[Any], attempts: int) -> None:
    for left in range(attempts - 1, -1, -1):
        problems = _problems(handler, payloads)
        again = [(p, e) for p, e in zip(payloads, problems, strict=True) if e and not isinstance(e, _ENDINGS)]
        if not again:
            return
        if not left:
            raise again[0][1]
        payloads = [payload for payload, _ in again]


def _problems(handler: Any, payloads: list[Any]) -> list[BaseException | None]:
    try:
        return sort_batch(payloads, handler(list(payloads)))
    except (Retry, *_ENDINGS) as error:
        return [error] * len(payloads)
