"""How quickly work is stopped, and how quickly it is back after somebody was killed."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks import queues
from benchmarks.site import Runner, done, fresh_site
from django_graceful.conf import get_conf
from django_graceful.stores import get_store

Figures = dict[str, float]


class Words:
    """What handlers have written down: lines of a word, a number, a pid and a moment (monotonic nanoseconds)."""

    def __init__(self, root: Path) -> None:
        self._path = root / "out"
        self._at = 0

    def wait(self, word: str, n: int, seconds: float = 30.0) -> tuple[int, int]:
        """Wait for this word of item ``n``, said after those that were waited for; the pid and the moment."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            lines = self._path.read_text()[self._at :] if self._path.exists() else ""
            for line in lines.splitlines(keepends=True):
                if line.startswith(f"{word} {n} ") and line.endswith("\n"):
                    self._at += lines.index(line) + len(line)
                    _, _, pid, moment = line.split()
                    return int(pid), int(moment)
            time.sleep(0.0005)
        raise RuntimeError(f"waited {seconds} s for {word} {n}")


@contextmanager
def serving() -> Iterator[tuple[Words, Runner]]:
    """A runner on a fresh store."""
    with fresh_site() as root:
        runner = Runner().serving()
        yield Words(root), runner
        if runner.process.poll() is None:
            runner.process.send_signal(signal.SIGQUIT)
            runner.end()


def cancel(number: int = 200) -> Figures:
    """From the call that cancels to the moment at which the job's Python code has been left."""
    found: Figures = {}
    for how in ("sleep", "loop"):
        waits = []
        with serving() as (words, _), get_store().admin() as admin:
            for n in range(number):
                item_id = queues.held.push({"n": n, "how": how})
                words.wait("start", n)
                time.sleep(random.random() * 0.02)
                asked = time.monotonic_ns()
                admin.request_cancel(item_id)
                waits.append((words.wait("left", n)[1] - asked) / 1e6)
        waits.sort()
        found[f"cancel, {how}: p50 (ms)"] = waits[len(waits) // 2]
        found[f"cancel, {how}: p99 (ms)"] = waits[int(len(waits) * 0.99)]
        found[f"cancel, {how}: max (ms)"] = waits[-1]
    return found


def kill(number: int = 5) -> Figures:
    """How long after ``CANCEL_GRACE`` a job that swallows its cancel is gone, with its worker."""
    late = []
    with serving() as (words, _), get_store().admin() as admin:
        for n in range(number):
            item_id = queues.held.push({"n": n, "how": "deaf"})
            worker = psutil.Process(words.wait("start", n)[0])
            asked = time.monotonic()
            admin.request_cancel(item_id)
            worker.wait(30)
            late.append((time.monotonic() - asked - get_conf().cancel_grace) * 1000)
    return {"hard kill, after the grace: max (ms)": max(late)}


def rescue(number: int = 20, restarts: int = 3) -> Figures:
    """Until the item of a killed worker runs again, and that of a killed runner from the start of the next one."""
    waits = []
    with serving() as (words, _), get_store().admin() as admin:
        for n in range(number):
            item_id = queues.held.push({"n": n, "how": "sleep"})
            pid, _moment = words.wait("start", n)
            killed = time.monotonic_ns()
            os.kill(pid, signal.SIGKILL)
            waits.append((words.wait("start", n)[1] - killed) / 1e6)
            admin.request_cancel(item_id)
            words.wait("left", n)
    starts = []
    for _ in range(restarts):
        with serving() as (words, runner):
            queues.held.push({"n": 0, "how": "sleep"})
            words.wait("start", 0)
            for process in runner.family():
                process.kill()
            runner.process.wait()
            again = Runner()
            starts.append(words.wait("start", 0)[1] / 1e9 - again.started)
            again.process.send_signal(signal.SIGQUIT)
            again.end()
    return {
        "rescue from a killed worker: median (ms)": sorted(waits)[len(waits) // 2],
        "rescue from a killed worker: max (ms)": max(waits),
        "rescue from a killed runner, from the next start: max (s)": max(starts),
    }


def prefetched(number: int = 50_000) -> Figures:
    """From the order to shut down until the items that were handed out and not begun are back in the store."""
    with serving() as (words, runner), get_store().admin() as admin:
        queues.held.push({"n": 0, "how": "sleep"})
        words.wait("start", 0)
        for first in range(0, number, 1000):
            queues.mark.push_many(range(first, first + 1000))
        while done("mark") < number // 10:
            time.sleep(0.001)
        ordered = time.monotonic()
        admin.ask("shutdown")  # type: ignore[attr-defined]
        while admin.counts()["mark"].running:
            pass
        seconds = time.monotonic() - ordered
        runner.process.send_signal(signal.SIGQUIT)
        runner.end()
    return {"prefetched items back at a drain (ms)": seconds * 1000}
