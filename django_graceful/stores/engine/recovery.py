"""After a crash: what the leases say was handed out, against how far each worker came.

The leases of the former owner are read back into the ledger as if they still ran, and are then ended like any others.
So an item that comes back goes the same way after a crash as after a release; and a crash while this is done leaves
each lease as it was, or resolved.
"""

from __future__ import annotations

from django_graceful.items import Outcome
from django_graceful.stores.engine import fates, finishing, keys, ledger, records
from django_graceful.stores.engine.core import Core
from django_graceful.stores.engine.leasing import chunk_of
from django_graceful.stores.engine.ledger import BLANK, decode_wish
from django_graceful.stores.values import Ending, Progress, Witness


def recover(core: Core, witness: Witness | None, max_crashes: int) -> list[str]:
    """Bring back what dead workers had leased, or count it as what it became. What was met, for people."""
    _read_wishes(core)
    notices = []
    for key, value in list(core.kv.scan(keys.LEASE, keys.beyond(keys.LEASE))):
        owner, slots = ledger.decode(value)
        progress = witness(owner) if witness is not None else None
        outcomes = _reopen(core, keys.execution_of(key), owner, slots, progress)
        if outcomes:
            notices.append(_end(core, owner, outcomes, max_crashes))
        else:
            core.kv.write({key: None}, sync=core.sync)
    _drop_wishes(core)
    return notices


def _reopen(
    core: Core, first: int, owner: str, slots: list[bytes], progress: Progress | None
) -> dict[Outcome | None, list[int]]:
    """Make the lease run again, as far as its items are there; how each of its executions ended (None: never began)."""
    entries = [(slot, _readable(core, slot)) for slot in slots]
    positions = [at for at, (_, record) in enumerate(entries) if record]
    outcomes: dict[Outcome | None, list[int]] = {}
    if positions:
        lane = core.by_number[keys.queue_of(slots[positions[0]])]
        core.ledger.open(chunk_of(lane, first, owner, entries), positions)
    for at in positions:
        outcome = fates.verdict(progress, first + at, entries[at][1])
        outcomes.setdefault(outcome, []).append(first + at)
    return outcomes


def _readable(core: Core, slot: bytes) -> bytes:
    """The record of a leased item; empty when it is finished or came back, or when it is damaged (and just waits)."""
    record = None if slot == BLANK or keys.queue_of(slot) not in core.by_number else core.kv.get(slot)
    return b"" if record is None or records.fault(record) else record


def _end(core: Core, owner: str, outcomes: dict[Outcome | None, list[int]], max_crashes: int) -> str:
    finishing.release(core, outcomes.get(None, []))
    crashed = [Ending(execution, Outcome.CRASHED) for execution in outcomes.get(Outcome.CRASHED, [])]
    finishing.finish(core, outcomes.get(Outcome.DONE, []), crashed, max_crashes)
    words = {Outcome.DONE: "done", Outcome.CRASHED: "crashed", None: "not started"}
    found = [f"{len(outcomes[outcome])} {word}" for outcome, word in words.items() if outcome in outcomes]
    return f"leased by {owner}, which is gone: {', '.join(found)}"


def _read_wishes(core: Core) -> None:
    for key, value in core.kv.scan(keys.WISH, keys.beyond(keys.WISH)):
        execution = keys.execution_of(key)
        core.ledger.wished[execution] = decode_wish(execution, value)


def _drop_wishes(core: Core) -> None:
    """What is left was for executions that have ended."""
    left = core.ledger.wished
    if left:
        core.kv.write({keys.wish(execution): None for execution in left}, sync=core.sync)
        left.clear()
