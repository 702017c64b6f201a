"""The measurements. Each gives figures by name; what they mean is in ``docs/performance.md``."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

from benchmarks import queues
from benchmarks.deploys import deploys
from benchmarks.over_redis import over_redis
from benchmarks.site import Runner, fresh_site, idle_latencies, wait_done
from benchmarks.stopping import cancel, kill, prefetched, rescue

Figures = dict[str, float]


def push(number: int = 100_000) -> Figures:
    """Single pushes from one process, with no runner and with one."""
    found: Figures = {}
    for durability in ("os", "fsync"):
        count = number if durability == "os" else number // 50
        with fresh_site(durability):
            found[f"push, {durability} (/s)"] = count / _timed(lambda: _push_singly(count))  # noqa: B023
    with fresh_site():
        runner = Runner().serving()
        found["push, os, runner draining (/s)"] = number / _timed(lambda: _push_singly(number))
        wait_done("noop", number)
        runner.stop()
    with fresh_site():
        seconds = _timed(
            lambda: [queues.noop.push_many([{"n": n + i} for i in range(100)]) for n in range(0, number, 100)]
        )
        found["push_many by 100, os (/s)"] = number / seconds
    return found


def drain(number: int = 200_000) -> Figures:
    """No-op items and items that append 32 bytes, from a backlog, through two worker processes."""
    found: Figures = {}
    for queue in ("noop", "mark"):
        for durability in ("os", "fsync"):
            found[f"drain {queue}, {durability} (/s)"] = _drain(queue, number, durability)
    return found


def depth(sizes: Iterable[int] = (1_000, 10_000, 100_000, 1_000_000)) -> Figures:
    """The cost of an item while at least that many others wait: pushes, and 15 000 items of a drain that is warm."""
    found: Figures = {}
    for size in sizes:
        with fresh_site():
            queues.noop.push(0)
            total = size + 20_000
            seconds = _timed(lambda: [queues.noop.push_many(range(n, n + 500)) for n in range(0, total, 500)])  # noqa: B023
            found[f"push_many with {size} waiting (µs/item)"] = seconds / total * 1e6
            _take_in()
            runner = Runner().serving()
            begin, first = wait_done("noop", 5_000)
            end, last = wait_done("noop", 20_000)
            found[f"drain with {size} waiting (µs/item)"] = (end - begin) / (last - first) * 1e6
            runner.stop()
    return found


def latency(number: int = 400) -> Figures:
    """From the push call to the handler's first line, on an idle system."""
    with fresh_site() as root:
        waits = idle_latencies(root, number)
    return {
        "latency p50 (ms)": waits[len(waits) // 2],
        "latency p99 (ms)": waits[int(len(waits) * 0.99)],
        "latency max (ms)": waits[-1],
    }


def idle(seconds: float = 20.0) -> Figures:
    """Processor time and memory of a runner that has nothing to do, with one idle worker."""
    with fresh_site():
        runner = Runner().serving()
        queues.latency.push({"pushed": time.monotonic_ns()})
        wait_done("latency", 1)
        family = runner.family()
        memory = {process.pid: process.memory_full_info().pss for process in family}
        time.sleep(12)  # the worker leaves
        before = _cpu(runner.family())
        time.sleep(seconds)
        used = _cpu(runner.family()) - before
        runner.stop()
    return {
        "idle processor time (%)": used / seconds * 100,
        "master + fork server + idle worker (MB PSS)": sum(memory.values()) / 1e6,
        "master + idle worker (MB PSS)": (memory[family[0].pid] + memory[family[-1].pid]) / 1e6,
    }


def start() -> Figures:
    """From the start of ``runqueues`` to the end of the first item, with a backlog of one and of 100 000."""
    found: Figures = {}
    for size in (1, 100_000):
        with fresh_site() as root:
            for n in range(0, size, 1000):
                queues.mark.push_many(range(n, min(size, n + 1000)))
            runner = Runner()
            while not (root / "out").exists():
                time.sleep(0.001)
            found[f"start to first item, backlog {size} (s)"] = time.monotonic() - runner.started
            runner.stop()
    return found


MEASURES = {
    measure.__name__: measure
    for measure in (push, drain, depth, latency, idle, start, cancel, kill, rescue, prefetched, deploys, over_redis)
}


def _timed(act: object) -> float:
    begin = time.perf_counter()
    act()  # type: ignore[operator]
    return time.perf_counter() - begin


def _push_singly(number: int) -> None:
    for n in range(number):
        queues.noop.push({"n": n})


def _take_in() -> None:
    """Move the inbox into LevelDB, so that the drain starts from the store."""
    subprocess.run(
        [sys.executable, "-m", "django", "graceful", "queues", "--json"], check=True, stdout=subprocess.DEVNULL
    )


def _drain(queue: str, number: int, durability: str) -> float:
    target = {"noop": queues.noop, "mark": queues.mark}[queue]
    with fresh_site(durability) as root:
        for n in range(0, number, 1000):
            target.push_many(range(n, n + 1000))
        _take_in()
        runner = Runner().serving()
        begin, first = wait_done(queue, 1)
        end, _ = wait_done(queue, number)
        runner.stop()
        if queue == "mark":
            _check_marks(root / "out", number)
    return (number - first) / (end - begin)


def _check_marks(path: Path, number: int) -> None:
    seen = sorted(int(line) for line in path.read_text().split())
    if seen != list(range(number)):
        raise RuntimeError(f"void: {number} items, {len(seen)} runs, {len(set(seen))} different ones")


def _cpu(processes: list[psutil.Process]) -> float:
    ticks = os.sysconf("SC_CLK_TCK")
    total = 0
    for process in processes:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / ticks
