"""Jobs for a storm of cancels: short, of random kinds, each telling when it begins, when it ends and what stopped it.

As an app of its own (``GRACEFUL_TEST_APP=tests.cancel``), so that no other runner has these queues.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from typing import Any

from django_graceful import Cancelled, current_process, queue, run, signals
from tests.site.queues import say

#: A command that ignores TERM, with a grandchild of the same kind in a session of its own; ``$1`` is how long it lives.
DEAF_FAMILY = """
trap '' TERM
setsid sh -c 'trap "" TERM; sleep 600; : '"$0" </dev/null >/dev/null 2>&1 &
i=0; while [ $i -lt "$1" ]; do sleep 0.01; i=$((i+1)); done
"""


class _Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


def _loop(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(50))


def _checks(seconds: float) -> None:
    process = current_process()
    assert process is not None
    process.wait(seconds)


def _in_c(seconds: float) -> None:
    """A wait that no signal shortens, and that lets other threads run."""
    libc = ctypes.CDLL(None)
    mutex = ctypes.create_string_buffer(64)
    libc.pthread_mutex_lock(mutex)
    end = time.time() + seconds
    limit = _Timespec(int(end), int(end % 1 * 1e9))
    libc.pthread_mutex_timedlock(mutex, ctypes.byref(limit))


def _swallows(seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        try:
            time.sleep(left)
        except Cancelled:
            say("swallowed")


def _command(seconds: float) -> None:
    run(["sh", "-c", DEAF_FAMILY, os.environ["STORM"], str(int(seconds * 100))])


KINDS = {
    "loop": _loop,
    "sleep": time.sleep,
    "checks": _checks,
    "command": _command,
    "in C": _in_c,
    "swallows": _swallows,
}


@queue("storm", max_workers=3)
def storm(payload: dict[str, Any]) -> None:
    n = payload["n"]
    say("start", n, os.getpid())
    try:
        KINDS[payload["kind"]](payload["seconds"])
    except BaseException as error:
        say("caught", n, type(error).__name__)
        raise
    say("end", n)


@queue("astorm", max_workers=1)
async def astorm(payload: dict[str, Any]) -> None:
    n = payload["n"]
    say("start", n, os.getpid())
    try:
        await asyncio.sleep(payload["seconds"])
    except BaseException as error:
        say("caught", n, type(error).__name__)
        raise
    say("end", n)


@queue("tstorm", threads=4, max_workers=1)
def tstorm(payload: dict[str, Any]) -> None:
    storm(payload | {"kind": "checks"})


@queue("bstorm", batch_length=4, batch_wait=0.02, max_workers=1)
def bstorm(payloads: list[dict[str, Any]]) -> None:
    process = current_process()
    assert process is not None
    for payload in payloads:
        time.sleep(payload["seconds"] / 4)
        process.handled(payload)
        say("end", payload["n"])


def _on_started(sender: Any, item: Any, **kwargs: Any) -> None:
    if sender.name.endswith("storm"):
        say("run", item.payload["n"], item.attempt, item.crashes)


def _on_finished(sender: Any, item: Any, outcome: Any, **kwargs: Any) -> None:
    if sender.name.endswith("storm"):
        say("outcome", item.payload["n"], outcome)


if "STORM" in os.environ:
    signals.started.connect(_on_started)
    signals.finished.connect(_on_finished)
