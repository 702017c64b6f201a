"""The comparison itself: each table against those it must agree with. Every finding says what would mend it.

Reads the whole map once, and of every item and every reference the other end. Memory does not grow with the number of
items.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from django_graceful.items import UNIQUE, UNTIL_FINISHED, decode_header, encode_header, new_id
from django_graceful.stores.engine import counters, keys, ledger, records
from django_graceful.stores.engine.kv import KV, Changes
from django_graceful.stores.values import Problem

_WORDS = {keys.READY: "waiting", keys.DELAYED: "delayed", keys.DEAD: "dead", keys.CANCELLED: "cancelled"}
_DEPTHS = {keys.READY: counters.READY, keys.DEAD: counters.DEAD, keys.CANCELLED: counters.CANCELLED}
_LIVE = (keys.READY, keys.DELAYED)
#: Larger numbers than these are damage: nobody has pushed or opened so often.
_MOST_SEQUENCE = 1 << 60
_MOST_EPOCH = 1 << 22


@dataclass(slots=True)
class Finding:
    """A problem and the changes that mend it."""

    problem: Problem
    fix: Changes


class Examination:
    """One look at everything in ``kv``. ``now`` is in µs; ``retake``: a free key of a waiting item is a finding too."""

    def __init__(self, kv: KV, now: int, *, retake: bool = False) -> None:
        self._kv = kv
        self._now = now
        self._retake = retake
        self._names = {keys.queue_of(key): name.decode(errors="replace") for key, name in self._table(keys.NAME)}
        self._running: set[bytes] = set()
        self._counted: dict[int, counters.Tally] = {number: counters.empty() for number in self._names}
        self._last_sequence = -1
        self._last_epoch = 0

    def findings(self) -> Iterator[Finding]:
        """All there is to find, leases first: they say what runs."""
        yield from self._leases()
        for table in keys.ITEMS:
            for key, value in self._table(table):
                yield from self._item(table, key, value)
        yield from self._queues()
        yield from self._index()
        yield from self._unique_keys()
        yield from self._numbers()
        yield from self._meta()
        yield from self._results()

    def _table(self, table: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self._kv.scan(table, keys.beyond(table))

    def _leases(self) -> Iterator[Finding]:
        executions: set[int] = set()
        for key, value in self._table(keys.LEASE):
            owner, slots = ledger.decode(value)
            first = keys.execution_of(key)
            self._last_epoch = max(self._last_epoch, min(first >> keys.EPOCH_SHIFT, _MOST_EPOCH))
            executions.update(range(first, first + len(slots)))
            live = [slot for slot in slots if slot != ledger.BLANK and self._kv.get(slot) is not None]
            if not live:
                yield _finding(f"lease {first:#x}", f"held by {owner}, but none of its items is there", {key: None})
            elif not self._running.isdisjoint(live):
                twice = [ledger.BLANK if slot in self._running else slot for slot in slots]
                fix = {key: ledger.encode(owner, twice)}
                yield _finding(f"lease {first:#x}", "an item is leased twice", fix)
            self._running.update(live)
        for key, _ in self._table(keys.WISH):
            if keys.execution_of(key) not in executions:
                yield _finding(f"wish {keys.execution_of(key):#x}", "its execution has ended", {key: None})

    def _item(self, table: bytes, key: bytes, value: bytes) -> Iterator[Finding]:
        number = keys.queue_of(key)
        tally = self._counted.setdefault(number, counters.empty())
        tally[records.delayed_as(value) if table == keys.DELAYED else _DEPTHS[table]] += 1
        self._last_sequence = max(self._last_sequence, min(keys.sequence_of(key), _MOST_SEQUENCE - 1))
        item_id = records.id_of(value)
        if not item_id or (table in _LIVE and records.unseal(value)):
            if key not in self._running:
                yield self._unreadable(table, key, value)
            return
        indexed = self._kv.get(keys.INDEX + item_id)
        if indexed != key:
            yield self._unindexed(key, value, item_id, indexed)
        elif self._retake and table in _LIVE and value[1] & UNIQUE:
            yield from self._keyless(key, value, item_id)

    def _unreadable(self, table: bytes, key: bytes, value: bytes) -> Finding:
        reason = records.fault(value)
        sealed = records.envelope(value, reason, self._now)
        if self._kv.get(keys.INDEX + sealed.id) not in (None, key):
            sealed = records.Envelope(new_id(), self._now, reason, value)
        where = key
        if table in _LIVE:
            where = keys.timed(keys.DEAD, keys.queue_of(key), self._now, keys.sequence_of(key))
        fix = {key: None, where: sealed.seal(), keys.INDEX + sealed.id: where}
        return _finding(self._where(key), f"can not be read: {reason}", fix)

    def _unindexed(self, key: bytes, value: bytes, item_id: bytes, indexed: bytes | None) -> Finding:
        other = self._kv.get(indexed) if indexed is not None else None
        where = f"{self._where(key)} {item_id.hex()}"
        if other is None or records.id_of(other) != item_id or key in self._running:
            return _finding(where, "is not in the index", {keys.INDEX + item_id: key})
        own = new_id()
        sealed = records.unseal(value)
        if sealed is not None:
            renamed = records.Envelope(own, sealed.at, sealed.reason, sealed.raw).seal()
        else:
            header = decode_header(value)
            header.id = own
            renamed = encode_header(header, value)
        return _finding(where, "is there twice", {key: renamed, keys.INDEX + own: key})

    def _keyless(self, key: bytes, value: bytes, item_id: bytes) -> Iterator[Finding]:
        if key in self._running and not value[1] & UNTIL_FINISHED:
            return
        ukey = records.unique_key(keys.queue_of(key), value)
        if self._kv.get(ukey) is None:
            yield _finding(f"{self._where(key)} {item_id.hex()}", "its unique key is free", {ukey: item_id})

    def _queues(self) -> Iterator[Finding]:
        told = {keys.queue_of(key): counters.name_in(value) for key, value in self._table(keys.COUNTERS)}
        for number in sorted((self._counted.keys() | told.keys()) - self._names.keys()):
            name = told.get(number) or f"queue-{number}"
            while name in self._names.values():
                name += "-"
            self._names[number] = name
            fix = {keys.numbered(keys.NAME, number): name.encode()}
            yield _finding(f"queue number {number}", f"its name was lost; it is {name} now", fix)

    def _index(self) -> Iterator[Finding]:
        for key, where in self._table(keys.INDEX):
            value = self._kv.get(where) if where[:1] in keys.ITEMS else None
            if value is None or records.id_of(value) not in (key[1:], b""):
                yield _finding(f"index {key[1:].hex()}", "there is no such item", {key: None})

    def _unique_keys(self) -> Iterator[Finding]:
        for ukey, item_id in self._table(keys.UNIQUE):
            if not self._holds(ukey, item_id):
                where = f"unique key {ukey[3:].decode(errors='replace')!r} of {self._name(ukey)}"
                yield _finding(where, f"taken by {item_id.hex()}, which does not wait with it", {ukey: None})

    def _holds(self, ukey: bytes, item_id: bytes) -> bool:
        key = self._kv.get(keys.INDEX + item_id)
        value = self._kv.get(key) if key is not None and key[:1] in _LIVE else None
        if key is None or value is None or records.id_of(value) != item_id:
            return False
        if records.unique_key(keys.queue_of(key), value) != ukey:
            return False
        return key not in self._running or bool(value[1] & UNTIL_FINISHED)

    def _numbers(self) -> Iterator[Finding]:
        for number, counted in self._counted.items():
            name = self._names.get(number, "")
            key = keys.numbered(keys.COUNTERS, number)
            stored = counters.unpack(self._kv.get(key))
            right = stored[:]
            for at in counters.DEPTHS:
                right[at] = counted[at]
            live = sum(right[at] for at in (counters.READY, counters.SCHEDULED, counters.RETRYING))
            ended = sum(right[at] for at in (counters.DONE, counters.DIED, counters.STOPPED, counters.DISCARDED))
            right[counters.PUSHED] = live + ended
            if right != stored:
                wrong = [
                    f"{word} {stored[at]}, not {right[at]}"
                    for at, word in counters.NAMES.items()
                    if stored[at] != right[at]
                ]
                yield _finding(self._name(key), f"miscounted: {'; '.join(wrong)}", {key: counters.pack(right, name)})

    def _meta(self) -> Iterator[Finding]:
        if not self._last_sequence < keys.read_u64(self._kv.get(keys.SEQUENCE)) <= _MOST_SEQUENCE:
            fix = {keys.SEQUENCE: keys.u64(self._last_sequence + 1)}
            yield _finding("sequence", "numbers of items would be used again", fix)
        if not self._last_epoch <= keys.read_u64(self._kv.get(keys.EPOCH)) <= _MOST_EPOCH:
            fix = {keys.EPOCH: keys.u64(self._last_epoch)}
            yield _finding("epoch", "numbers of executions would be used again", fix)

    def _results(self) -> Iterator[Finding]:
        for key, value in self._table(keys.RESULT):
            try:
                where = keys.expiry(int(json.loads(value)["expires"]), key[1:])
            except (ValueError, TypeError, LookupError, OverflowError):
                yield _finding(f"result {key[1:].hex()}", "can not be read", {key: None})
                continue
            if self._kv.get(where) is None:
                yield _finding(f"result {key[1:].hex()}", "would never expire", {where: b""})

    def _name(self, key: bytes) -> str:
        return f"queue {self._names.get(keys.queue_of(key), keys.queue_of(key))}"

    def _where(self, key: bytes) -> str:
        return f"{_WORDS[key[:1]]} item in {self._name(key)}"


def _finding(where: str, what: str, fix: Changes) -> Finding:
    return Finding(Problem(where, what), fix)
