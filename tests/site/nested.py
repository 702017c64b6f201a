"""A queue for the tests of nodes: its jobs open processes of their own, tell how far they are, and run commands."""

from __future__ import annotations

import threading
import time
from typing import Any

from django_graceful import current_process, process, queue


@queue("nested", max_workers=2)
def nested(payload: dict[str, Any]) -> None:
    """Runs ``argv`` in a process below the job."""
    from tests.site.queues import say

    job = current_process()
    assert job is not None
    say("job", payload["n"], job.id)
    job.progress(1, 4, "begun")
    with process("inner") as inner:
        say("inner", payload["n"], inner.id)
        try:
            inner.run(payload["argv"])
        except BaseException as error:
            say("caught", payload["n"], type(error).__name__, inner.stop and inner.stop.by)
            raise


@queue("plain", max_workers=1)
def plain(payload: dict[str, Any]) -> None:
    """A job that has nothing more to say."""
    time.sleep(payload["seconds"])


@queue("crowd", max_workers=1, threads=4)
def crowd(payload: dict[str, Any]) -> None:
    """Several of these run in one worker."""
    from tests.site.queues import say

    job = current_process()
    assert job is not None
    job.progress(payload["n"], 10)
    say("crowd", payload["n"], job.id)
    job.wait(600)


@queue("straying", max_workers=1)
def straying(payload: Any) -> None:
    """Leaves a thread behind that speaks of its progress."""
    from tests.site.queues import say

    job = current_process()
    assert job is not None

    def stray() -> None:
        for n in range(20):
            time.sleep(0.05)
            job.progress(n, 20)
        say("strayed again")

    threading.Thread(target=stray).start()
    say("strayed")
