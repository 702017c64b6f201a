"""The life of a node, ``running → draining → hammer → terminate → done``, and hooks at its moments.

:mod:`~django_graceful.lifecycle.phases` is the state machine, :mod:`~django_graceful.lifecycle.hooks` what a site hangs
on it: :func:`at_shutdown`, :func:`at_hammer`, :func:`at_terminate`, and the Django signals of the same moments.
"""

from __future__ import annotations

from django_graceful.lifecycle.hooks import Node, Registration, at_hammer, at_shutdown, at_terminate, node
from django_graceful.lifecycle.phases import Event, Phase, follow

__all__ = [
    "Event",
    "Node",
    "Phase",
    "Registration",
    "at_hammer",
    "at_shutdown",
    "at_terminate",
    "follow",
    "node",
]
