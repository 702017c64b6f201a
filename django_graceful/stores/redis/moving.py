"""Items on their way from and to another store (:mod:`django_graceful.stores.moving`)."""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

from django_graceful.items import State
from django_graceful.stores.redis.line import Line
from django_graceful.stores.redis.packing import join
from django_graceful.stores.redis.views import Views
from django_graceful.stores.values import Kept

_HEAD = Struct("<d16s")


def kept(views: Views, queue: str, state: State, limit: int) -> list[Kept]:
    """See :meth:`~django_graceful.stores.base.StoreOwner.kept`."""
    return [Kept(seen.id.hex(), int(seen.at), seen.record) for seen in views.list(queue, state, None, limit)]


def set_aside(line: Line, queue: str, state: State, items: Sequence[Kept]) -> None:
    """See :meth:`~django_graceful.stores.base.StoreOwner.set_aside`."""
    blob = join(_HEAD.pack(one.at, bytes.fromhex(one.id)) + one.form for one in items)
    if line.run("aside", queue, f":{state}", b"", blob) is None:
        line.run("aside", queue, f":{state}", line.register(queue), blob)
