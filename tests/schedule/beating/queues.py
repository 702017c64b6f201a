"""A queue that begins by itself."""

from __future__ import annotations

from django_graceful import every, queue
from tests.site.queues import say


@every("1s", payload="hello")
@queue("beat")
def beat(payload: str) -> None:
    say("beat", payload)
