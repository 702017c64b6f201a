"""Check and repair: everything is compared with everything, from what is on disk alone.

Items are the truth; index, unique keys, numbers and leases are mended to fit them. No item is ever removed: one that
can not be read is set aside as dead, and one that is there twice (old files came back) goes on under an id of its own.
"""

from __future__ import annotations

from typing import Final

from django_graceful.stores.engine.core import BATCH
from django_graceful.stores.engine.examination import Examination
from django_graceful.stores.engine.kv import KV
from django_graceful.stores.values import Problem

#: Mending one thing can uncover the next.
_ROUNDS: Final = 5


def check(kv: KV, now: int) -> list[Problem]:
    """What is wrong; changes nothing. ``now`` is in µs."""
    return [finding.problem for finding in Examination(kv, now).findings()]


def repair(kv: KV, now: int) -> list[Problem]:
    """Mend what is wrong, and give what was mended. Waiting items whose unique key is free get it."""
    mended: dict[Problem, None] = {}
    for _ in range(_ROUNDS):
        fixes: dict[bytes, bytes | None] = {}
        sound = True
        for finding in Examination(kv, now, retake=True).findings():
            sound = False
            mended[finding.problem] = None
            fixes |= finding.fix
            if len(fixes) >= BATCH:
                kv.write(fixes, sync=False)
                fixes = {}
        kv.write(fixes, sync=True)
        if sound:
            break
    return list(mended)
