"""Orders of people: cancel, retry, discard. Each item is changed in one step, and only as it was seen.

The new form of a record is made here, from what a script has shown, so that nobody but Python knows what is in it. The
script that stores it compares first; what has changed meanwhile is looked at again. An order for many is carried out in
stretches: whoever is killed in between leaves the rest as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from struct import Struct
from typing import Final

from django_graceful.items import State
from django_graceful.stores.engine import records
from django_graceful.stores.redis import reading
from django_graceful.stores.redis.line import Line
from django_graceful.stores.redis.packing import join, split
from django_graceful.stores.redis.reading import LETTERS, PLACE, Seen
from django_graceful.stores.redis.views import Views, mark_of
from django_graceful.stores.values import CancelCount, CancelReply, item_id

#: Items that are changed in one step.
STRETCH: Final = 1000
#: How often an item is looked at again that changes all the time.
_TRIES: Final = 50
_ASIDE: Final = (State.DEAD, State.CANCELLED)
_ORDER = Struct("<s16ssII16s")

#: From an item as it was seen to the order that a script gets; None: it can not be carried out.
Order = Callable[[Seen], bytes | None]


class Orders:
    """Methods are those of :class:`~django_graceful.stores.base.StoreAdmin`."""

    def __init__(self, line: Line, views: Views, changed: Callable[[str], None]) -> None:
        """``changed`` is called with the queue of which something was changed."""
        self._line = line
        self._views = views
        self._changed = changed

    def request_cancel(self, text: str, by: str, reason: str) -> CancelReply:
        for _ in range(_TRIES):
            seen = self._views.find(text, heads=True)
            if seen is None or seen.state in _ASIDE:
                break
            if seen.state is State.RUNNING:
                if self._ask(seen.queue, by, reason, execution=seen)[0]:
                    return CancelReply.ASKED
                continue
            if self._change(seen.queue, [_cancel(seen, by, reason)]) == "y":
                return CancelReply.UNKNOWN if records.fault(seen.record) else CancelReply.CANCELLED
        return CancelReply.UNKNOWN

    def cancel_some(self, queue: str, key: str | None, by: str, reason: str, before: int | None) -> CancelCount:
        wanted = b"" if key is None else b"=" + key.encode(errors="replace")
        _, asked, end = self._ask(queue, by, reason, before=before, key=wanted)
        found = split(self._line.run("waiting", queue, end, wanted, STRETCH, client=self._line.patient))
        batch = [reading.waiting(queue, piece) for piece in found]
        answers = self._change(queue, [_cancel(seen, by, reason) for seen in batch])
        readable = [answer for seen, answer in zip(batch, answers, strict=True) if not records.fault(seen.record)]
        again = len(batch) == STRETCH or "c" in answers
        return CancelCount(readable.count("y"), asked, end if again else None)

    def retry(self, queue: str, ids: Sequence[str] | None) -> int:
        now = self._line.now()
        return self._each(queue, State.DEAD, _ASIDE, ids, lambda seen: _revive(seen, now))

    def discard(self, queue: str, state: State, ids: Sequence[str] | None) -> int:
        return 0 if state is State.RUNNING else self._each(queue, state, (state,), ids, _discard)

    def _ask(
        self,
        queue: str,
        by: str,
        reason: str,
        *,
        execution: Seen | None = None,
        before: int | None = None,
        key: bytes = b"",
    ) -> list[int]:
        which = b"" if execution is None else execution.execution.to_bytes(8) + execution.id
        stop = b"" if before is None else max(0, before)
        said = reading.encode_wish(by, reason)
        answer: list[int] = self._line.run("ask", queue, self._line.channel, said, which, stop, key)
        self._changed(queue)
        return answer

    def _each(self, queue: str, state: State, named: Sequence[State], ids: Sequence[str] | None, order: Order) -> int:
        """Give ``order`` for every item of ``state``, or for those of ``ids`` that are in one of ``named``."""
        return sum(self._carry_out(queue, batch, named, order) for batch in self._batches(queue, state, named, ids))

    def _batches(
        self, queue: str, state: State, named: Sequence[State], ids: Sequence[str] | None
    ) -> Iterator[list[Seen]]:
        if ids is not None:
            known = list(filter(None, map(item_id, dict.fromkeys(ids))))
            for at in range(0, len(known), STRETCH):
                found = self._views.find_in(queue, known[at : at + STRETCH])
                yield [seen for seen in found if seen.state in named]
            return
        after = None
        while batch := self._views.list(queue, state, after, STRETCH, heads=True):
            after = mark_of(batch[-1])
            yield batch

    def _carry_out(self, queue: str, batch: list[Seen], named: Sequence[State], order: Order) -> int:
        """Give the order for these; how many it was carried out for."""
        done = 0
        for _ in range(_TRIES):
            given = [(seen, said) for seen in batch if (said := order(seen)) is not None]
            if not given:
                break
            answers = self._change(queue, [said for _, said in given])
            done += answers.count("y")
            changed = [seen.id for (seen, _), answer in zip(given, answers, strict=True) if answer == "c"]
            batch = [seen for seen in self._views.find_in(queue, changed) if seen.state in named] if changed else []
        return done

    def _change(self, queue: str, orders: list[bytes]) -> str:
        if not orders:
            return ""
        answer = self._line.run("change", queue, self._line.channel, join(orders), client=self._line.patient)
        self._changed(queue)
        return str(answer.decode())


def _order(what: bytes, seen: Seen, form: bytes, new_id: bytes = b"") -> bytes:
    """Replace what was seen of the item by ``form``."""
    value = seen.value[:PLACE] + form
    head = _ORDER.pack(what, seen.id, LETTERS[seen.state], len(seen.value), len(value), new_id or seen.id)
    return head + seen.value + value


def _cancel(seen: Seen, by: str, reason: str) -> bytes:
    """Cancelled; dead, when it can not be read."""
    if fault := records.fault(seen.record):
        return _order(b"b", seen, records.Envelope(seen.id, 0, fault, seen.record).seal())
    return _order(b"c", seen, records.ended(seen.record, by, reason))


def _discard(seen: Seen) -> bytes:
    return _ORDER.pack(b"d", seen.id, LETTERS[seen.state], 0, 0, seen.id)


def _revive(seen: Seen, now: int) -> bytes | None:
    sealed = records.unseal(seen.record)
    raw = seen.record if sealed is None else sealed.raw
    if records.fault(raw):
        return None
    return _order(b"r", seen, records.revived(raw, now), raw[records.ID])
