"""Queues of the memory store; what they go through, they tell in the file ``said``: ``done`` and the item."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from django_graceful import Discard, current_process, queue


def say(*words: object) -> None:
    """One line, written at once and whole, whoever else writes."""
    line = (" ".join(map(str, words)) + "\n").encode()
    fd = os.open(Path(os.environ["GRACEFUL_TEST_PLACE"]) / "said", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, line)
    finally:
        os.close(fd)


@queue("work", store="fast", max_workers=10)
def work(payload: dict[str, Any]) -> None:
    """Takes its time, and is done."""
    process = current_process()
    assert process is not None
    say("running", process.details["item"])
    process.wait(payload["seconds"])
    say("done", process.details["item"])


@queue("bad", store="fast")
def bad(payload: Any) -> None:
    process = current_process()
    assert process is not None
    say("bad", process.details["item"])
    raise Discard("never")


@queue("polite", store="fast")
def polite(payload: Any) -> None:
    """Is done a moment after its process was asked to stop."""
    process = current_process()
    assert process is not None
    say("running", process.details["item"])
    while not process.stopping:
        process.wait(0.02)
    process.wait(0.3)
    say("done", process.details["item"])


@queue("deaf", store="fast")
def deaf(payload: Any) -> None:
    """Heeds nothing."""
    process = current_process()
    assert process is not None
    say("running", process.details["item"])
    while True:
        try:
            time.sleep(60)
        except BaseException as error:
            say("swallowed", type(error).__name__)


@queue("pushes", store="fast")
def pushes(payload: Any) -> None:
    """Pushes from a job."""
    say("pushed", work.push({"seconds": 0}))


if "GRACEFUL_TEST_SPILL_AT_IMPORT" in os.environ:
    say("pushed", work.push({"seconds": 60}))
