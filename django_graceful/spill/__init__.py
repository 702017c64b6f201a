"""The persistable memory store: ``{"BACKEND": "memory", "SPILL_TO": "default", "THREADS": 2}``.

A push costs microseconds, and the item is handled by a thread of the process that pushed it. When that process stops,
what was not handled is handed over to another, durable store, under the same queue and the same id, and a runner does
it. Only SIGKILL and its like lose what waits here: promise P1 holds from that hand-over on, not before.

``inlet``     what was pushed and not taken in yet; producers touch nothing else
``keeper``    the items: an engine in memory, one thread at a time
``hands``     the threads that run them, and ``running``, one unit in one of them
``handover``  writing to the other store, and what is done when that can not be written
``fitness``   whether this process may keep items in memory at all
``store``     all of it as a :class:`~django_graceful.stores.base.Store`
``ending``    the moments of the end: drain, settle, conclude

Everything is made lazily, for this OS process only: the child of a fork begins with nothing, and what its parent holds
is the parent's to do.
"""

from __future__ import annotations

from django_graceful.spill.ending import conclude, drain, settle
from django_graceful.spill.fitness import refuse

__all__ = ["conclude", "drain", "refuse", "settle"]
