"""Pushing: one call for all records of a push, from any process. Nothing is kept between two pushes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from struct import Struct

from django_graceful.exceptions import QueueFull
from django_graceful.items import FORMAT, HEADER, RUN_ONCE, id_of, micros, new_id
from django_graceful.stores.engine import records as forms
from django_graceful.stores.redis.line import Line
from django_graceful.stores.redis.packing import cut, join

_unpack = HEADER.unpack_from
_priority = Struct(">H").pack


def push(line: Line, queue: str, records: Sequence[bytes], limit: int) -> list[bytes]:
    """See :meth:`~django_graceful.stores.base.Store.push`."""
    if len(records) == 1 and _push_plain(line, queue, records[0], limit):
        return [id_of(records[0])]
    ids, stored, spare = [], [], []
    for record in records:
        if reason := forms.fault(record):
            sealed = forms.envelope(record, reason, micros(time.time()))
            spare.append(new_id())
            ids.append(sealed.id)
            stored.append(sealed.seal())
        else:
            ids.append(id_of(record))
            stored.append(record)
    args = (join(stored), b"".join(spare))
    answer = line.run("push", queue, line.channel, limit, b"", *args)
    if answer is None:
        answer = line.run("push", queue, line.channel, limit, line.register(queue), *args)
    if isinstance(answer, int):
        raise QueueFull(f"queue {queue!r}: {answer} items wait, {limit} may")
    return cut(answer, 16) if answer else ids


def _push_plain(line: Line, queue: str, record: bytes, limit: int) -> bool:
    """Push a record that is ready at once, not unique, and readable at a glance. False: it needs more care."""
    if len(record) < HEADER.size:
        return False
    version, flags, priority, _, _, key_size, meta_size, _, not_before, item_id = _unpack(record)
    if version != FORMAT or flags & ~RUN_ONCE or key_size or meta_size or not_before:
        return False
    place = _priority(0x7FFF - priority)
    return line.run("push_one", queue, line.channel, limit, item_id, place, record) is not None
