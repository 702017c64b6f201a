"""Queues for tests with real runners: every handler writes what it does to ``$GRACEFUL_TEST_OUT``, a line per event."""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import os
import signal
import subprocess
import tempfile
import threading
import time
from typing import Any

from django.db import connection

from django_graceful import Cancelled, Discard, Retry, arun, current_process, queue, run


def say(*words: object) -> None:
    """One line, written at once and whole, whoever else writes."""
    fd = os.open(os.environ["GRACEFUL_TEST_OUT"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, (" ".join(map(str, words)) + "\n").encode())
    finally:
        os.close(fd)


@queue("noop")
def noop(payload: Any) -> None:
    """Nothing at all."""


@queue("record", max_workers=1)
def record(payload: Any) -> None:
    say("record", payload)


@queue("wide", max_workers=4)
def wide(payload: Any) -> None:
    say("wide", payload, os.getpid())


@queue("slow", max_workers=2)
def slow(payload: dict[str, Any]) -> None:
    say("start", payload["n"], os.getpid())
    time.sleep(payload["seconds"])
    say("end", payload["n"])


@queue("single", max_workers=1)
def single(payload: dict[str, Any]) -> None:
    say("start", payload["n"], os.getpid())
    time.sleep(payload["seconds"])
    say("end", payload["n"])


@queue("polite", max_workers=1)
def polite(payload: dict[str, Any]) -> None:
    """Comes to a safe point when the node drains."""
    process = current_process()
    assert process is not None
    say("start", payload["n"])
    while not process.stopping:
        time.sleep(0.01)
    say("stopping", payload["n"], process.remaining)


@queue("left", max_workers=1)
def left(payload: dict[str, Any]) -> None:
    """Tells the whole seconds left to it, when the node drains and when the hammer strikes."""
    process = current_process()
    assert process is not None
    say("start", payload["n"])
    while not process.stopping:
        time.sleep(0.01)
    say("left", process.remaining)
    try:
        time.sleep(60)
    finally:
        say("left", process.remaining)


@queue("stubborn", max_workers=1)
def stubborn(payload: dict[str, Any]) -> None:
    """Swallows every exception."""
    say("start", payload["n"], os.getpid())
    while True:
        try:
            time.sleep(60)
        except BaseException as error:
            say("swallowed", type(error).__name__)


@queue("stuck", max_workers=1)
def stuck(payload: dict[str, Any]) -> None:
    """Waits in C for a lock that it has itself; with ``gil`` it keeps the interpreter's lock, too."""
    libc = ctypes.PyDLL(None) if payload["gil"] else ctypes.CDLL(None)
    mutex = ctypes.create_string_buffer(64)
    libc.pthread_mutex_lock(mutex)
    say("start", payload["n"], os.getpid())
    libc.pthread_mutex_lock(mutex)


@queue("loop", max_workers=1)
def loop(payload: dict[str, Any]) -> None:
    """Never comes to its end, in Python."""
    say("start", payload["n"], os.getpid())
    while True:
        sum(range(1000))


@queue("closing", max_workers=1)
def closing(payload: dict[str, Any]) -> None:
    """Is told to stop just when it is about to end, and ends well."""
    say("start", payload["n"], os.getpid())
    try:
        time.sleep(3600)
    except Cancelled:
        say("end", payload["n"])


@queue("crate", batch_length=3, max_workers=1)
def crate(payloads: list[dict[str, Any]]) -> None:
    """Calls what says so handled, then waits if one of them says so; ``deaf``: whatever comes."""
    process = current_process()
    assert process is not None
    for payload in payloads:
        if payload.get("handled"):
            process.handled(payload)
    say("crate", os.getpid(), *[payload["n"] for payload in payloads])
    holds = [payload["hold"] for payload in payloads if "hold" in payload]
    while holds:
        try:
            time.sleep(3600)
        except Cancelled:
            if "deaf" not in holds:
                raise


@queue("flaky", max_attempts=4, backoff=0.05)
def flaky(payload: dict[str, Any]) -> None:
    """Fails the first ``fails`` times."""
    marker = f"{os.environ['GRACEFUL_TEST_OUT']}.{payload['n']}"
    with open(marker, "a+") as file:
        file.seek(0)
        tries = len(file.read())
        file.write("x")
    say("try", payload["n"], tries + 1)
    if tries < payload["fails"]:
        raise ValueError(f"no luck with {payload['n']}")


@queue("verdict", max_attempts=3, backoff=0.05)
def verdict(payload: dict[str, Any]) -> None:
    say("verdict", payload["how"])
    if payload["how"] == "discard":
        raise Discard("of no use")
    if payload["how"] == "retry":
        raise Retry(0.05, reason="not yet")
    if payload["how"] == "exit":
        raise SystemExit(3)


@queue("batch", batch_length=10, backoff=0.05, max_workers=1)
def batch(payloads: list[dict[str, Any]]) -> list[dict[str, Any]]:
    say("batch", *[payload["n"] for payload in payloads])
    return [payload for payload in payloads if payload.get("bad")]


@queue("coroutine", max_workers=1)
async def coroutine(payload: dict[str, Any]) -> None:
    say("start", payload["n"])
    await asyncio.sleep(payload.get("seconds", 0))
    say("end", payload["n"])


@queue("command", max_workers=1)
def command(payload: dict[str, Any]) -> None:
    """Runs a command in a directory of its own, and tells how it came out of it. ``bare``: without our ``run``."""
    with tempfile.TemporaryDirectory() as directory:
        say("start", payload["n"], os.getpid(), directory)
        try:
            if payload.get("bare"):
                subprocess.Popen(payload["argv"], start_new_session=True)
            elif payload.get("thread"):
                threading.Thread(target=run, args=(payload["argv"],)).start()
                time.sleep(0.5)
            else:
                run(payload["argv"], timeout=payload.get("timeout"))
        except BaseException as error:
            say("caught", payload["n"], type(error).__name__)
            raise
        finally:
            say("cleanup", payload["n"])


@queue("acommand", max_workers=1)
async def acommand(payload: dict[str, Any]) -> None:
    say("start", payload["n"], os.getpid())
    try:
        await arun(payload["argv"])
    except BaseException as error:
        say("caught", payload["n"], type(error).__name__)
        raise


@queue("poison", max_workers=1)
def poison(payload: Any) -> None:
    """Takes its worker along."""
    say("poison", payload)
    os.kill(os.getpid(), signal.SIGKILL)


@queue("once", rerun=False, max_workers=1)
def once(payload: dict[str, Any]) -> None:
    say("once", payload["n"])
    time.sleep(payload["seconds"])


@queue("limited", timeout=0.3, max_attempts=2, backoff=0.05, max_workers=1)
def limited(payload: dict[str, Any]) -> None:
    say("start", payload["n"])
    time.sleep(payload["seconds"])
    say("end", payload["n"])


@queue("lingering", batch_length=2, batch_wait=5, max_workers=1)
def lingering(payloads: list[float]) -> None:
    """Sleeps for as long as its items say, together."""
    time.sleep(sum(payloads))
    say("batch-end", *payloads)


@queue("connected", threads=2, max_workers=1)
def connected(payload: dict[str, Any]) -> None:
    """Tells whether it found a database connection open, leaves one open, and says in which thread."""
    say("connection", payload["n"], threading.get_ident(), connection.connection is not None)
    connection.ensure_connection()
    say("start", payload["n"], os.getpid())
    time.sleep(payload.get("seconds", 0))


@queue("thread_command", threads=4, max_workers=1)
def thread_command(payload: dict[str, Any]) -> None:
    """Runs a command in a seat; ``left``: by a thread with its context, which it does not wait for."""
    say("start", payload["n"], os.getpid())
    if payload.get("left"):
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(run, payload["argv"]), daemon=True).start()
        time.sleep(0.5)
    else:
        run(payload["argv"])
    say("end", payload["n"])


@queue("threaded", threads=8, max_workers=1, backoff=0.05)
def threaded(payload: dict[str, Any]) -> None:
    """One of several in one worker; stops within ``step`` seconds. ``deaf``: not for that long, once it was told to."""
    n = payload["n"]
    say("start", n, os.getpid(), threading.get_ident())
    end = time.monotonic() + payload.get("seconds", 0)
    while time.monotonic() < end:
        time.sleep(payload.get("step", 0.01))
    if payload.get("bad"):
        raise ValueError("bad")
    say("end", n)


@queue("tasks", threads=20, max_workers=1, backoff=0.05)
async def tasks(payload: dict[str, Any]) -> None:
    say("start", payload["n"], os.getpid())
    await asyncio.sleep(payload.get("seconds", 0))
    if payload.get("bad"):
        raise ValueError("bad")
    say("end", payload["n"])


@queue("unique", unique="queued", key=lambda payload: payload["key"], max_workers=4)
def unique(payload: dict[str, Any]) -> None:
    say("start", payload["key"], payload["n"])
    time.sleep(payload.get("seconds", 0))
    say("end", payload["key"], payload["n"])


@queue("environment", max_workers=1)
def environment(payload: Any) -> None:
    """Tells which variables of systemd it sees."""
    say("environment", *(name for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID") if name in os.environ))


@queue("crash", max_workers=2)
def crash(payload: str) -> None:
    say("crash", payload)


from tests.site import hooks, nested, receivers, threads, timing  # noqa: E402, F401
