"""Tasks as an app has them, for the tests."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

import django

from django_graceful import Discard, Retry, current_process
from django_graceful.compat import TaskContext

if django.VERSION >= (6, 0):
    from django.tasks import task
else:
    from django_tasks import task

#: Who was called, in this process.
calls: list[Any] = []


def say(*words: object) -> None:
    """One line in the file of the test site."""
    with Path(os.environ["GRACEFUL_TEST_OUT"]).open("a") as out:
        out.write(" ".join(map(str, words)) + "\n")


@task
def add(a: Any, b: Any = 1) -> Any:
    """Add."""
    calls.append((a, b))
    return a + b


@task
async def add_async(a: int, b: int = 1) -> int:
    await asyncio.sleep(0)
    calls.append((a, b))
    return a + b


@task(takes_context=True)
def tell_context(context: TaskContext, word: str = "") -> dict[str, Any]:
    result = context.task_result
    return {"attempt": context.attempt, "status": str(result.status), "workers": result.worker_ids, "word": word}


@task(takes_context=True)
def fail_first(context: TaskContext, times: int) -> int:
    if context.attempt <= times:
        raise ValueError(f"attempt {context.attempt}")
    return context.attempt


@task(queue_name="mail", priority=5)
def mail(to: str) -> str:
    calls.append(to)
    return to


@task
def raise_it(name: str) -> None:
    if name == "exit":
        sys.exit(3)
    if name == "interrupt":
        raise KeyboardInterrupt
    if name == "discard":
        raise Discard("of no use")
    if name == "retry":
        raise Retry(0)
    raise ValueError(name)


@task
def return_it(what: str) -> Any:
    return {"set": {1}, "bytes": b"\xc3\xa9", "tuple": (1, (2,)), "long": "x" * 2000}[what]


@task
def slow(n: int, seconds: float) -> int:
    say("start", n, os.getpid())
    time.sleep(seconds)
    say("end", n)
    return n


@task
def until_stopped(n: int) -> str:
    say("start", n, os.getpid())
    process = current_process()
    assert process is not None
    while not process.stopping:
        time.sleep(0.005)
    say("end", n)
    return "orderly"


@task
async def sleep_async(n: int) -> None:
    say("start", n, os.getpid())
    try:
        await asyncio.sleep(60)
    finally:
        say("cleaned", n)


@task
def die(n: int) -> int:
    """Kills its worker the first time."""
    mark = Path(os.environ["GRACEFUL_TEST_OUT"]).with_suffix(f".{n}")
    if not mark.exists():
        mark.touch()
        os._exit(9)
    return n


def plain() -> None:
    """No task."""
