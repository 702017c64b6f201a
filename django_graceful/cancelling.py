"""Orders from code about the items of a queue: cancel one of them, or all.

They go to the owner of the store, from any process and thread: with LevelDB that is the runner, over its control
socket. When no runner runs they raise instead of opening the store here: a web process is never the owner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asgiref.sync import sync_to_async

from django_graceful.payloads import key_text
from django_graceful.stores import get_store
from django_graceful.stores.base import CancelCount, CancelReply

if TYPE_CHECKING:
    from django_graceful.options import Options


class Cancellable:
    """What a :class:`~django_graceful.queues.Queue` can be told about its items."""

    name: str

    if TYPE_CHECKING:

        @property
        def options(self) -> Options:
            """See :attr:`django_graceful.queues.Queue.options`."""

    def cancel(self, item_id: str, *, by: str = "", reason: str = "") -> CancelReply:
        """Cancel one item of this queue: ``cancelled`` when it did not run, ``asked`` when its run has been told to
        stop (within ``CANCEL_GRACE`` seconds it stops or is killed, unless it is done first), ``unknown`` when no live
        item of this queue has the id.

        ``by`` and ``reason`` are who and why, kept with the item. A cancelled item costs no attempt, is no failure and
        is not tried again; a person can let it wait again. Does not wait for the end of a run.

        Raises :class:`~django_graceful.exceptions.StoreUnavailable` when the store's owner can not be asked: with
        LevelDB when no runner runs, nothing is cancelled then (``manage.py graceful cancel`` works without a runner).
        When the runner went away in the middle of it, the item may be cancelled.
        """
        with get_store(self.options.store).admin() as admin:
            found = admin.get(item_id)
            if found is None or found.item.queue != self.name:
                return CancelReply.UNKNOWN
            return admin.request_cancel(item_id, by, reason)

    def cancel_all(self, *, key: str | int | None = None, by: str = "", reason: str = "") -> CancelCount:
        """Cancel everything of this queue that waits, is scheduled or retrying, and ask what runs to stop; with ``key``
        only items of that key. How many were cancelled at once, and how many runs were asked.

        Items pushed after this began stay. Many items take several calls of the owner, each a bounded step; whoever is
        killed in between, every item is cancelled or as it was, and saying it again finishes. Otherwise as
        :meth:`cancel`.
        """
        text = None if key is None else key_text(key)
        with get_store(self.options.store).admin() as admin:
            return admin.cancel_all(self.name, text, by, reason)

    async def acancel(self, item_id: str, *, by: str = "", reason: str = "") -> CancelReply:
        """:meth:`cancel` for async code."""
        return await sync_to_async(self.cancel)(item_id, by=by, reason=reason)

    async def acancel_all(self, *, key: str | int | None = None, by: str = "", reason: str = "") -> CancelCount:
        """:meth:`cancel_all` for async code."""
        return await sync_to_async(self.cancel_all)(key=key, by=by, reason=reason)
