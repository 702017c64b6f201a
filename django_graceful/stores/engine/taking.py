"""Taking items in: every record that was pushed becomes an item, a duplicate, or (unreadable) a dead item.

Nothing that comes in can raise: whoever pushed it has long been told that it is kept (promises P1 and P9).
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from django_graceful.items import FORMAT, HEADER, OUTBOX, RUN_ONCE, decode_header, decode_meta, micros
from django_graceful.stores.engine import counters, handovers, keys, records
from django_graceful.stores.engine.core import Core, Step
from django_graceful.stores.engine.fates import LONGEST
from django_graceful.stores.engine.heads import Entry
from django_graceful.stores.engine.lanes import Lane

_unpack = HEADER.unpack_from
_SIZE = HEADER.size


def take_in(core: Core, step: Step, lane: Lane, pushed: Sequence[bytes]) -> list[bytes]:
    """Add to ``step`` what keeps these records; their ids, or of those that were there already the ids of these."""
    sequence = core.reserve(step, len(pushed))
    changes, get, number, now = step.changes, step.get, lane.number, core.now()
    arrived: list[Entry] = []
    ids: list[bytes] = []
    for record in pushed:
        if len(record) > _SIZE:
            version, flags, priority, _, _, key_size, meta_size, _, not_before, item_id = _unpack(record)
            # By far the most items take this branch: ready at once, not unique, pushed for the first time.
            if version == FORMAT and not (flags & ~RUN_ONCE or key_size or meta_size or not_before > now):
                where = keys.INDEX + item_id
                if get(where) is None:
                    key = keys.pack_ready(keys.READY, number, keys.PRIORITY_BASE - priority, sequence)
                    changes[key] = record
                    changes[where] = key
                    arrived.append((key, record))
                    ids.append(item_id)
                    sequence += 1
                    continue
        ids.append(_take_any(step, lane, record, sequence, now))
        sequence += 1
    tally = step.tally(lane)
    tally[counters.READY] += len(arrived)
    tally[counters.PUSHED] += len(arrived)
    step.then(_arrive, lane, arrived)
    return ids


def _arrive(lane: Lane, arrived: list[Entry]) -> None:
    add = lane.head.add
    for key, record in arrived:
        add(key, record)


def _take_any(step: Step, lane: Lane, record: bytes, sequence: int, now: int) -> bytes:
    """Any record, whatever it is; its id or that of the item it is a duplicate of."""
    tally = step.tally(lane)
    if reason := records.fault(record):
        tally[counters.PUSHED] += 1
        return step.bury(lane, record, reason, sequence)
    item_id, ukey = record[records.ID], records.unique_key(lane.number, record)
    again = bool(record[1] & OUTBOX) and handovers.note(step, item_id, now)
    known = item_id if again or step.get(keys.INDEX + item_id) else holder(step, ukey)
    if known:
        tally[counters.DUPLICATES] += 1
        if known != item_id:
            _follow(step, record, known, now)
        return known
    tally[counters.PUSHED] += 1
    if ukey:
        step.changes[ukey] = item_id
    step.wait(lane, record, sequence, now)
    return item_id


def _follow(step: Step, record: bytes, known: bytes, now: int) -> None:
    """Whoever pushed this one may have its id only. Where the record asks for it, that id's result says which item it
    was merged into, for so many seconds.
    """
    header = decode_header(record)
    seconds = decode_meta(header.meta).get("follow") if header.meta else None
    if isinstance(seconds, int | float) and 0 < seconds < LONGEST:
        text = json.dumps({"same_as": known.hex()})
        kept = {"result": text, "finished_at": now / 1e6, "expires": now + micros(seconds)}
        step.changes[keys.RESULT + header.id] = json.dumps(kept).encode()
        step.changes[keys.expiry(now + micros(seconds), header.id)] = b""


def holder(step: Step, ukey: bytes) -> bytes:
    """The id of the item that has this unique key; empty when none has.

    A key whose item is no more (only damage leaves one) blocks nobody.
    """
    found = step.get(ukey) if ukey else None
    return found if found is not None and step.get(keys.INDEX + found) is not None else b""
