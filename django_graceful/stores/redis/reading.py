"""What scripts answer about items, as values. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from struct import Struct
from typing import Any, Final

from django_graceful.items import Outcome, State
from django_graceful.stores.engine import records
from django_graceful.stores.values import CancelOutcome, Found, Wish

#: Bytes of a place, which stands before each record.
PLACE: Final = 10
LETTERS: Final = {
    State.WAITING: b"W",
    State.RUNNING: b"R",
    State.SCHEDULED: b"S",
    State.RETRYING: b"T",
    State.DEAD: b"D",
    State.CANCELLED: b"C",
}
_STATES: Final = {letter: state for state, letter in LETTERS.items()}
_FATES: Final = {b"x": Outcome.DONE, b"d": Outcome.DEAD, b"c": Outcome.CANCELLED}
#: When something happened to an item of this state, by the name that it is shown under.
_TIMES: Final = {
    State.SCHEDULED: "due",
    State.RETRYING: "due",
    State.DEAD: "died_at",
    State.CANCELLED: "cancelled_at",
}
#: What is shown of a wish.
_WISH: Final = ("by", "reason", "asked_at", "stopping_at", "killed_at")

#: The tick of an execution: its lowest bit, its unit and its beginning in seconds.
_TICK_AT: Final = 23
_TICK: Final = 0.002
_EPOCH: Final = 1_577_836_800

_FOUND = Struct("<sd8sII")
_LISTED = Struct("<d16sI")
_STAMPS = Struct("<ddd")
_LEASED = Struct("<8s16sH")
_ENDED = Struct("<sd8s")
_TIMES_OF_RESULT = Struct("<dd")


@dataclass(slots=True, frozen=True)
class Seen:
    """One item as a script saw it. ``value`` is its place and its record (or only the head of that)."""

    queue: str
    id: bytes
    state: State
    value: bytes
    #: When it is due, or was set aside, in µs.
    at: float = 0.0
    execution: int = 0
    #: Seat and worker.
    who: str = ""
    wish: Wish | None = None

    @property
    def record(self) -> bytes:
        """The record, or the envelope of one that can not be read."""
        return self.value[PLACE:]

    def shown(self) -> Found:
        """For people."""
        item, detail = records.describe(self.queue, self.record)
        if self.state is State.RUNNING:
            detail = {"execution": self.execution, "owner": worker_of(self.who), "since": leased_at(self.execution)}
            if self.wish is not None:
                detail["cancel"] = {name: getattr(self.wish, name) for name in _WISH}
        elif self.state is not State.WAITING:
            detail[_TIMES[self.state]] = self.at / 1e6
        return Found(item, self.state, detail)


def leased_at(execution: int) -> float:
    """When (epoch seconds) this execution was handed out, as its tick says; see ``lease.lua``."""
    return _EPOCH + ((execution >> _TICK_AT) - 1) * _TICK


def worker_of(who: str) -> str:
    """The worker, without its seat."""
    return who.partition("\0")[2]


def found(queue: str, item_id: bytes, piece: bytes) -> Seen | None:
    """What ``find.lua`` says of one item."""
    if not piece:
        return None
    letter, at, execution, who_size, wish_size = _FOUND.unpack_from(piece)
    begin = _FOUND.size + who_size
    who, wish = piece[_FOUND.size : begin].decode(errors="replace"), piece[begin : begin + wish_size]
    number = int.from_bytes(execution)
    state = _STATES.get(letter, State.WAITING)
    return Seen(queue, item_id, state, piece[begin + wish_size :], at, number, who, decode_wish(number, wish))


def listed(queue: str, state: State, piece: bytes) -> Seen:
    """What ``page.lua`` says of one item."""
    at, item_id, size = _LISTED.unpack_from(piece)
    details, value = piece[_LISTED.size : _LISTED.size + size], piece[_LISTED.size + size :]
    if state is not State.RUNNING:
        return Seen(queue, item_id, state, value, at)
    number, end = int.from_bytes(details[:8]), 12 + int.from_bytes(details[8:12], "little")
    who = details[12:end].decode(errors="replace")
    return Seen(queue, item_id, state, value, at, number, who, decode_wish(number, details[end:]))


def leased(queue: str, piece: bytes) -> Seen:
    """What ``leased.lua`` says of one item."""
    execution, item_id, size = _LEASED.unpack_from(piece)
    begin = _LEASED.size + size
    who = piece[_LEASED.size : begin].decode(errors="replace")
    value = bytes(PLACE) + piece[begin:]
    return Seen(queue, item_id, State.RUNNING, value, execution=int.from_bytes(execution), who=who)


def waiting(queue: str, piece: bytes) -> Seen:
    """What ``waiting.lua`` says of one item."""
    return Seen(queue, piece[1:17], _STATES[piece[:1]], piece[17:])


def encode_wish(by: str, reason: str) -> bytes:
    """Who and why, as a script stores them."""
    return json.dumps({"by": by[-records.MAX_TEXT :], "reason": reason[-records.MAX_TEXT :]}).encode()


def decode_wish(execution: int, value: bytes) -> Wish | None:
    """The wish that is stored; None when there is none. A damaged one is still a wish, by nobody known."""
    if len(value) < _STAMPS.size:
        return None
    asked, stopping, killed = (at / 1e6 for at in _STAMPS.unpack_from(value))
    try:
        said = json.loads(value[_STAMPS.size :])
        by, reason = str(said["by"]), str(said["reason"])
    except (ValueError, TypeError, KeyError):
        by = reason = ""
    return Wish(execution, by, reason, asked, stopping or None, killed or None)


def wishes(stored: dict[bytes, bytes]) -> list[Wish]:
    """All that are stored in one queue."""
    found = [decode_wish(int.from_bytes(execution), value) for execution, value in stored.items()]
    return [wish for wish in found if wish is not None]


def outcome(value: bytes | None) -> CancelOutcome | None:
    """What ``outcome.lua`` says."""
    if value is None:
        return None
    fate, at, execution = _ENDED.unpack_from(value)
    wish = decode_wish(int.from_bytes(execution), value[_ENDED.size :])
    return None if wish is None else CancelOutcome(_FATES[fate], wish, at / 1e6)


def result(value: bytes | None) -> dict[str, Any] | None:
    """What ``result.lua`` says."""
    if value is None:
        return None
    at, _ = _TIMES_OF_RESULT.unpack_from(value)
    return {"result": value[_TIMES_OF_RESULT.size :].decode(errors="replace"), "finished_at": at / 1e6}
