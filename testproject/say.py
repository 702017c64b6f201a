"""How a view talks to the store: the request goes on whatever the store says, and the visitor is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.contrib import messages
from django.http import HttpRequest

from django_graceful.exceptions import GracefulError


@contextmanager
def queued(request: HttpRequest, success: str) -> Iterator[None]:
    """Say ``success`` after the body, or what went wrong when the queue is full or the store unavailable."""
    try:
        yield
    except GracefulError as error:
        messages.error(request, f"This did not work: {error}")
    else:
        messages.success(request, success)
