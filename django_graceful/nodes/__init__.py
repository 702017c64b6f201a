"""Nodes: the OS processes that take part, and what runs in each of them, readable and cancellable from everywhere.

:func:`running` is the whole table, :func:`cancel` ends one process of it by its id, :func:`join` makes this OS process
visible: ``process()`` and the request middleware do that by themselves.
"""

from __future__ import annotations

from django_graceful.nodes.joining import join, leave
from django_graceful.nodes.looking import Reply, cancel, order, running
from django_graceful.nodes.names import node_name

__all__ = ["Reply", "cancel", "join", "leave", "node_name", "order", "running"]
