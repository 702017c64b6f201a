"""What the engine needs of a backing: an ordered map of bytes with atomic writes. And one in memory."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import Protocol

#: Key to new value; None deletes the key.
Changes = Mapping[bytes, bytes | None]


class KV(Protocol):
    """An ordered map. Raises :class:`~django_graceful.exceptions.StoreError` and its kin; one thread uses it."""

    def get(self, key: bytes, /) -> bytes | None:
        """The value of ``key``, or None."""

    def write(self, changes: Changes, /, *, sync: bool = False) -> None:
        """All of ``changes``, or none when it raises. ``sync``: they survive power loss when this returns."""

    def scan(self, start: bytes, stop: bytes, /) -> Iterator[tuple[bytes, bytes]]:
        """Keys from ``start`` to before ``stop``, in order, with their values.

        Writes that are made while the iterator lives may or may not be seen by it.
        """

    def close(self) -> None:
        """Let go. Idempotent."""


class MemoryKV:
    """The map in memory: a dict, and for each table (first byte) its keys in order.

    A deleted key stays in the order until half of its table is such; :meth:`scan` steps over them. So deleting at the
    front of a long table moves nothing.
    """

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        self._tables: dict[int, list[bytes]] = {}
        self._stale: dict[int, int] = {}

    def get(self, key: bytes, /) -> bytes | None:
        return self._values.get(key)

    def write(self, changes: Changes, /, *, sync: bool = False) -> None:
        for key, value in changes.items():
            if value is None:
                self._delete(key)
            else:
                if key not in self._values:
                    self._place(key)
                self._values[key] = value

    def scan(self, start: bytes, stop: bytes, /) -> Iterator[tuple[bytes, bytes]]:
        for table in sorted(self._tables):
            if start[0] <= table and bytes((table,)) < stop:
                yield from self._scan_table(table, start, stop)

    def close(self) -> None:
        """Nothing to let go of: the map lives as long as the object."""

    def _scan_table(self, table: int, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        order = self._tables[table]
        at = bisect_left(order, start)
        while at < len(order) and (key := order[at]) < stop:
            value = self._values.get(key)
            if value is not None:
                yield key, value
            # A write may have moved the order meanwhile.
            if order is self._tables[table] and at < len(order) and order[at] == key:
                at += 1
            else:
                order = self._tables[table]
                at = bisect_left(order, key + b"\0")

    def _place(self, key: bytes) -> None:
        order = self._tables.setdefault(key[0], [])
        if not order or key > order[-1]:
            order.append(key)
            return
        at = bisect_left(order, key)
        if order[at] == key:
            self._stale[key[0]] -= 1
        else:
            order.insert(at, key)

    def _delete(self, key: bytes) -> None:
        if self._values.pop(key, None) is None:
            return
        table = key[0]
        stale = self._stale[table] = self._stale.get(table, 0) + 1
        if stale > 64 and stale * 2 > len(self._tables[table]):
            self._tables[table] = [key for key in self._tables[table] if key in self._values]
            self._stale[table] = 0
