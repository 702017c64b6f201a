"""The format of keys and values, written into every store. A store that a later release wrote is left alone.

The mark has a checksum of its own: a damaged mark must not look like a later release's, which nothing would ever mend.
"""

from __future__ import annotations

from typing import Final
from zlib import crc32

from django_graceful.exceptions import StoreCorrupt
from django_graceful.stores.engine import keys
from django_graceful.stores.engine.kv import KV

#: What this release writes.
VERSION: Final = 1


def mark(number: int = VERSION) -> dict[bytes, bytes | None]:
    """The changes that write a version into a store."""
    value = keys.u64(number)
    return {keys.VERSION: value + keys.u64(crc32(value))}


def check(kv: KV) -> None:
    """Raises :class:`~django_graceful.exceptions.StoreCorrupt` for a store that a later release wrote."""
    found = kv.get(keys.VERSION) or b""
    number = keys.read_u64(found[:8])
    if number > VERSION and mark(number)[keys.VERSION] == found:
        raise StoreCorrupt(
            f"the store has format {number}, this release of django_graceful knows up to {VERSION}: "
            "run the release that wrote it, or a later one; nothing was touched"
        )
