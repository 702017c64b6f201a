"""Looking: counts, pages, one item, a result. Asked of the server directly by any process; needs no runner."""

from __future__ import annotations

from struct import Struct
from typing import Any, Final

from django_graceful.items import State
from django_graceful.stores.redis import reading
from django_graceful.stores.redis.line import Line
from django_graceful.stores.redis.packing import split
from django_graceful.stores.redis.reading import LETTERS, Seen
from django_graceful.stores.values import CancelOutcome, Counts, Found, Page, item_id

#: A mark is a time (µs) and a member, or an execution, or a member.
_TIME = Struct(">Q")
_MEMBER: Final = 26
_TIMED: Final = (State.SCHEDULED, State.RETRYING, State.DEAD, State.CANCELLED)


class Views:
    """Questions. Methods are those of :class:`~django_graceful.stores.base.StoreAdmin`, and what orders need."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def counts(self) -> dict[str, Counts]:
        return {queue: _counts(answer) for queue, answer in self._line.each_queue("counts").items()}

    def get(self, text: str) -> Found | None:
        seen = self.find(text)
        return None if seen is None else seen.shown()

    def has(self, queue: str, key: str) -> bool:
        return bool(self._line.run("has", queue, key.encode(errors="replace")))

    def page(self, queue: str, state: State, after: str | None, limit: int) -> Page:
        if limit < 1:
            return Page([])
        found = self.list(queue, state, after, limit + 1)
        more = len(found) > limit
        items = [seen.shown() for seen in found[:limit]]
        return Page(items, mark_of(found[limit - 1]) if more else None)

    def result(self, text: str) -> dict[str, Any] | None:
        return reading.result(self._anywhere("result", text))

    def cancel_outcome(self, text: str) -> CancelOutcome | None:
        return reading.outcome(self._anywhere("outcome", text))

    def find(self, text: str, *, heads: bool = False) -> Seen | None:
        """The item of this id, in whichever queue; ``heads``: without its payload."""
        wanted = item_id(text)
        if not wanted:
            return None
        for queue, blob in self._line.each_queue("find", wanted, b"heads" if heads else b"").items():
            seen = reading.found(queue, wanted, split(blob)[0])
            if seen is not None:
                return seen
        return None

    def find_in(self, queue: str, ids: list[bytes]) -> list[Seen]:
        """Those of these items that are in this queue, without payloads."""
        pieces = split(self._line.run("find", queue, b"".join(ids), b"heads", client=self._line.patient))
        found = (reading.found(queue, wanted, piece) for wanted, piece in zip(ids, pieces, strict=True))
        return [seen for seen in found if seen is not None]

    def list(self, queue: str, state: State, after: str | None, limit: int, *, heads: bool = False) -> list[Seen]:
        """Items of one state in their order, as :meth:`page`."""
        score, member = _read_mark(state, after)
        args = (LETTERS[state], score, member, limit, b"heads" if heads else b"")
        blob = self._line.run("page", queue, *args, client=self._line.patient)
        return [reading.listed(queue, state, piece) for piece in split(blob)]

    def _anywhere(self, script: str, text: str) -> bytes | None:
        """The answer of the one queue that has one for this item."""
        wanted = item_id(text)
        if not wanted:
            return None
        return next((answer for answer in self._line.each_queue(script, wanted).values() if answer), None)


def mark_of(seen: Seen) -> str:
    """Where a page that ends with this item is continued."""
    if seen.state is State.RUNNING:
        return _TIME.pack(seen.execution).hex()
    member = (seen.value[: reading.PLACE] + seen.id).hex()
    return _TIME.pack(int(seen.at)).hex() + member if seen.state in _TIMED else member


def _read_mark(state: State, after: str | None) -> tuple[int, bytes]:
    """Score and member of a mark; a mark that is none is before everything."""
    try:
        mark = bytes.fromhex(after or "")
    except ValueError:
        mark = b""
    if state not in _TIMED:
        return 0, mark
    if len(mark) < _TIME.size:
        return -1, b""
    return _TIME.unpack_from(mark)[0], mark[_TIME.size : _TIME.size + _MEMBER]


def _counts(answer: list[int]) -> Counts:
    paused, oldest, waiting, scheduled, retrying, running, dead, cancelled, *totals = answer
    age = None if oldest < 0 else oldest / 1e6
    return Counts(waiting, scheduled, retrying, running, dead, cancelled, age, bool(paused), *totals)
