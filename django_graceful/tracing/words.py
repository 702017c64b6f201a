"""The words of the semantic conventions for messaging. Pure; imports nothing."""

from __future__ import annotations


def attributes(queue: str, operation: str, kind: str) -> dict[str, str | int]:
    """What a span has that does ``operation`` on a queue; ``kind`` is one of the conventions: ``send``, ``process``."""
    return {
        "messaging.system": "django_graceful",
        "messaging.destination.name": queue,
        "messaging.operation.name": operation,
        "messaging.operation.type": kind,
    }
