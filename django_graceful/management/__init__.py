"""Management commands, and the base of those that stop well: :class:`GracefulCommand`."""

from __future__ import annotations

from django_graceful.management.base import GracefulCommand

__all__ = ["GracefulCommand"]
