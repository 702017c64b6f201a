"""A receiver in an app of its own, for the test with a real runner."""

from __future__ import annotations

from typing import Any

from django.dispatch import Signal

from django_graceful.receivers import queued_receiver
from tests.site.queues import say

opened = Signal()


@queued_receiver(opened)
def tell(sender: Any, signal: Signal, door: str, **kwargs: Any) -> None:
    say("opened", door, sender.__name__, signal is opened)
