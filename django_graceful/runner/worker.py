"""A worker process: takes units, runs their handlers, one at a time, in its main thread; units of a queue with
``threads`` several at once (:mod:`.seating`).

It is a fork of the fork server, leads a process group of its own, and never touches a store. It ends when the master
says so, when the master is gone (end of the socket), and with the fork server (parent-death signal).
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import time
from pathlib import Path

from django_graceful import nodes, spill, stacks
from django_graceful.runner.executing import Executor, tell
from django_graceful.runner.link import Link
from django_graceful.runner.moments import Moments
from django_graceful.runner.seating import Seating
from django_graceful.runner.slate import Slate, Word
from django_graceful.runner.stopping import Stopper
from django_graceful.runner.wire import Unit


def work(sock: socket.socket, tokens: int, slate_path: Path) -> int:
    """The life of a worker; its exit code. Called in the forked child, which ends afterwards."""
    spill.refuse()
    slate = Slate(slate_path)
    slate.lock()
    stopper = Stopper(slate)
    stopper.install()
    stacks.answer(slate.path)
    moments = Moments(slate.words, f"worker {os.getpid()}")
    link = Link(sock, tokens, slate)
    with asyncio.Runner() as runner:  # makes its loop when it is used
        seating = Seating(link, slate, stopper, runner)
        link.ready()
        _work(link, slate, Executor(stopper, slate, runner), seating)
        link.tell()
        moments.say_farewell()
        seating.close()
    nodes.leave()
    return 0


def _work(link: Link, slate: Slate, executor: Executor, seating: Seating) -> None:
    """Run what comes, until the worker shall end."""
    unit: Unit | None = None
    while not link.retired:
        unit = unit or link.next(tell)
        if unit is None:
            break
        if seating.takes(unit):
            unit = seating.run(unit)
            if seating.retiring:
                break
            continue
        began = time.monotonic_ns()
        slate.words[Word.SINCE] = began
        slate.words[Word.STARTED] = unit.last
        report = executor.run(unit)
        if report is None:
            link.done(unit, began)
        else:
            report.busy = time.monotonic_ns() - began
            link.report(unit, report)
            if report.retiring:
                break
        unit = None


def prepare_to_serve() -> None:
    """Called in the fork server: move what is loaded out of the garbage collector's sight, so that forks go on
    sharing it.
    """
    gc.collect()
    gc.freeze()
