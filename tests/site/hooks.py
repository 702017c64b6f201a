"""Hooks as an app registers them at import, when ``$GRACEFUL_TEST_HOOKS`` is set, and queues whose jobs do it."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from django_graceful import lifecycle, queue
from tests.site.queues import say


def _hook(*words: object) -> Any:
    return lambda: say("hook", *words, threading.current_thread() is not threading.main_thread())


if os.environ.get("GRACEFUL_TEST_HOOKS"):
    lifecycle.at_shutdown(_hook("import", "shutdown"))
    lifecycle.at_hammer(_hook("import", "hammer"))
    lifecycle.at_terminate(_hook("import", "terminate"))

    @lifecycle.at_terminate(timeout=0.1, name="the hook that hangs", order=-1)
    def hang() -> None:
        say("hook hangs")
        time.sleep(60)

    @lifecycle.at_terminate(order=-2)
    def fail() -> None:
        say("hook fails")
        raise ValueError("a hook that fails")


@queue("hooked", max_workers=1)
def hooked(payload: dict[str, Any]) -> None:
    """Registers hooks, with ``cancel`` takes them away again; then works."""
    registrations = [
        lifecycle.at_shutdown(_hook("job", "shutdown")),
        lifecycle.at_hammer(_hook("job", "hammer")),
        lifecycle.at_terminate(_hook("job", "terminate")),
    ]
    say("start", payload["n"], os.getpid())
    end = time.monotonic() + payload["seconds"]
    while time.monotonic() < end:
        time.sleep(0.01)
    if payload.get("cancel"):
        for registration in registrations:
            registration.cancel()
    say("end", payload["n"], threading.active_count())


@queue("counted", max_workers=1)
def counted(payload: Any) -> None:
    """Tells how many threads its worker has."""
    say("threads", threading.active_count())


@queue("endless", max_workers=1)
def endless(payload: Any) -> None:
    """A last hook that takes much longer than the runner may."""
    lifecycle.at_terminate(lambda: time.sleep(60), timeout=60, name="the endless hook")
    say("endless", os.getpid())
