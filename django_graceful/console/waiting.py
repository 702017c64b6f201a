"""Waiting for what a web server does, never longer than it lives."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from django_graceful.console.servers import Handle

#: Seconds beyond ``graceful_timeout`` in which a worker has left for sure.
LEAVING: Final = 5.0
#: Seconds between two looks.
_LOOK = 0.05


class Stuck(Exception):
    """It goes no further: why, for people."""


def until(arbiter: Handle, condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """The first true value of ``condition``. Raises :class:`Stuck`: with ``what`` when there is none in time, or when
    the server has ended.
    """
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise Stuck(f"{what} (after {seconds:g} s)")
        if arbiter.ended(_LOOK):
            raise Stuck(f"gunicorn (pid {arbiter.pid}) has ended; its log says why")
