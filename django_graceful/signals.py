"""Django signals for what happens to items and to nodes.

Signals are sent in the process where the thing happens: :data:`pushed` where ``push`` was called, :data:`started`,
:data:`finished` and :data:`dead` in the worker process that ran the item, the lifecycle signals in each node as it
changes its phase. The runner master never runs user code, so it sends none. A receiver that raises is logged and
changes nothing. Queues with ``immediate=True`` send none.

The lifecycle signals are sent in a thread of their own: :data:`draining` and :data:`hammer` at the moment itself, also
while a job runs, as with the hooks of :mod:`django_graceful.lifecycle`; :data:`terminate` before the ``at_terminate``
hooks, with five seconds for all of its receivers. Connect when an app is imported: a receiver that a job connects may
hear of draining and hammer late, and not at all of what has come. A worker that leaves while the runner goes on sends
:data:`terminate` only.

================  ========================================================================================
signal            arguments (``sender`` is the :class:`~django_graceful.queues.Queue`, or the node's name)
================  ========================================================================================
``pushed``        ``item_ids``: list of ids; sent after the store has accepted them
``started``       ``item``: the :class:`~django_graceful.items.Item`, before its handler runs
``finished``      ``item``, ``outcome`` (:class:`~django_graceful.items.Outcome`), ``seconds``
``dead``          ``item``, ``reason``: no attempt is left, or the handler raised ``Discard``
``draining``      ``node``: no new work is taken from now on
``hammer``        ``node``: running work is being cancelled
``terminate``     ``node``: last call; stores and indexes close after it
================  ========================================================================================
"""

from __future__ import annotations

from django.dispatch import Signal

__all__ = ["dead", "draining", "finished", "hammer", "pushed", "started", "terminate"]

pushed = Signal()
started = Signal()
finished = Signal()
dead = Signal()

draining = Signal()
hammer = Signal()
terminate = Signal()
