"""Records to push in tests of the store."""

from __future__ import annotations

import time

from django_graceful.items import encode_record, new_id


def record(payload: bytes = b"1", *, not_before: int = 0) -> bytes:
    """One that is due at once, or at ``not_before`` (µs)."""
    return encode_record(new_id(), payload, pushed_at=time.time_ns() // 1000, not_before=not_before)
