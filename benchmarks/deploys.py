"""What clients notice of deploys: requests that fail and latency that is added, while a site that takes seconds to boot
is restarted again and again.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.gunicorn.client import Tally, load
from tests.gunicorn.server import ROOT, Server

Figures = dict[str, float]

#: Seconds that the application takes to be loaded.
BOOT = 4.0


def deploys(number: int = 10) -> Figures:
    """Rolling restarts under load: 4 clients with fresh and 4 with kept connections, gthread, 2 workers."""
    found: Figures = {}
    with tempfile.TemporaryDirectory(prefix="graceful-bench-") as name:
        server = Server(Path(name), "gthread", "--workers", "2", graceful=10).booted()
        try:
            server.said("hook post_worker_init", 2)
            (Path(name) / "slow").write_text(f"{BOOT}")
            with load(server.port, fresh=4, kept=4) as busy:
                for _ in range(number):
                    _restart(server)
            with load(server.port, fresh=4, kept=4) as reference:
                _wait(reference, len(busy.seconds) // number)
        finally:
            server.cleanup()
    found["deploys: requests during rolling restarts"] = busy.requests
    found["deploys: failed per 10 000"] = sum(busy.failures.values()) / busy.requests * 10_000
    found["deploys: p99 (ms)"] = _percentile(busy, 0.99)
    found["deploys: p99 without restarts (ms)"] = _percentile(reference, 0.99)
    found["deploys: longest (ms)"] = max(busy.seconds) * 1000
    return found


def _restart(server: Server) -> None:
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.gunicorn.settings", "GRACEFUL_TEST_PLACE": str(server.place)}
    command = [sys.executable, "-m", "django", "graceful", "restart", "--wait"]
    subprocess.run(command, cwd=ROOT, env=env, check=True, stdout=subprocess.DEVNULL)


def _wait(tally: Tally, requests: int) -> None:
    while tally.requests < requests:
        time.sleep(0.1)


def _percentile(tally: Tally, part: float) -> float:
    return sorted(tally.seconds)[int(len(tally.seconds) * part)] * 1000
