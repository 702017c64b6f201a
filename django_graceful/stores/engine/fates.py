"""What becomes of an item when its execution ends. Pure: a record and an ending in, a fate out.

A run whose cancel was asked for never comes back: what would wait again (released, interrupted, crashed, to be retried)
is cancelled instead. Only a run that ended for good first, done or dead, wins against the wish.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from django_graceful.items import RUN_ONCE, Header, Outcome, State, decode_header, encode_header, micros
from django_graceful.stores.engine import records
from django_graceful.stores.values import Ending, Progress, Wish

#: Seconds. Nothing waits longer: a time must fit its field.
LONGEST: Final = 1e9


@dataclass(slots=True, frozen=True)
class Fate:
    """Where the item goes, with which record. ``due`` is in µs, for a retry."""

    state: State | None
    record: bytes = b""
    due: int = 0


@dataclass(slots=True, frozen=True)
class Rules:
    """What a fate depends on besides the record and the ending. ``now`` is in µs."""

    now: int
    max_crashes: int


#: The item is gone.
GONE: Final = Fate(None)


def decide(record: bytes, ending: Ending, wish: Wish | None, rules: Rules) -> Fate:
    """The fate of the item with this (readable) record."""
    outcome = ending.outcome
    if outcome is Outcome.DONE:
        return GONE
    header = decode_header(record)
    records.with_error(header, ending.error, rules.now)
    if outcome is Outcome.DEAD:
        if ending.error is not None:
            header.attempt = records.count(header.attempt)
        return _aside(State.DEAD, header, record, ending.by, ending.reason)
    if wish is not None or outcome is Outcome.CANCELLED:
        return _cancelled(header, record, ending, wish)
    if outcome is Outcome.RETRY:
        return _retry(header, record, ending.delay, rules.now)
    if outcome is Outcome.CRASHED:
        return _crashed(header, record, ending.reason, rules)
    return _back(header, record, ending.reason or "interrupted")


def released(record: bytes, wish: Wish | None) -> Fate:
    """The fate of an item that was handed out and never started."""
    if wish is None:
        return Fate(State.WAITING, record)
    return Fate(State.CANCELLED, records.ended(record, wish.by, wish.reason, wish.stamps()))


def verdict(progress: Progress | None, execution: int, record: bytes) -> Outcome | None:
    """How an execution ended whose worker is gone; None: it never started, as far as anybody knows."""
    if progress is None:
        return Outcome.CRASHED if record[1] & RUN_ONCE else None
    if progress.ended(execution) or execution in progress.handled:
        return Outcome.DONE
    return Outcome.CRASHED if execution <= progress.started else None


def _cancelled(header: Header, record: bytes, ending: Ending, wish: Wish | None) -> Fate:
    wish = wish or Wish(ending.execution, "", "")
    by, reason = (ending.by, ending.reason) if ending.outcome is Outcome.CANCELLED else ("", "")
    records.with_end(header, by or wish.by, reason or wish.reason, wish.stamps())
    return Fate(State.CANCELLED, encode_header(header, record))


def _retry(header: Header, record: bytes, delay: float, now: int) -> Fate:
    header.attempt = records.count(header.attempt)
    header.not_before = due = now + micros(min(delay, LONGEST) if delay > 0 else 0)
    return Fate(State.RETRYING, encode_header(header, record), due)


def _crashed(header: Header, record: bytes, reason: str, rules: Rules) -> Fate:
    header.crashes = records.count(header.crashes)
    if header.crashes >= rules.max_crashes:
        times = "once" if header.crashes == 1 else f"{header.crashes} times"
        return _aside(State.DEAD, header, record, "", reason or f"its worker died under it {times}")
    return _back(header, record, reason or "its worker died under it")


def _back(header: Header, record: bytes, reason: str) -> Fate:
    if header.flags & RUN_ONCE:
        return _aside(State.DEAD, header, record, "", f"{reason}; it must not run twice")
    return Fate(State.WAITING, encode_header(header, record))


def _aside(state: State, header: Header, record: bytes, by: str, reason: str) -> Fate:
    records.with_end(header, by, reason)
    return Fate(state, encode_header(header, record))
