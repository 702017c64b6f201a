"""The crash suite over Redis: whoever is killed, no push is lost, and only what ran runs twice (P1, P2)."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crash.chaos import Chaos
from tests.crash.test_kill_anything import accepted, judge
from tests.harness import numbers
from tests.redis.pushing import desk
from tests.redis.server import Server
from tests.redis.site import RedisSite

ROUNDS = int(os.environ.get("GRACEFUL_TEST_ROUNDS", "12"))
SEED = int(os.environ.get("GRACEFUL_TEST_SEED", random.randrange(1 << 30)))


class RedisChaos(Chaos):
    """The server is a victim, too."""

    server: Server

    def round(self, most: int = 60) -> None:
        super().round(most)
        if self.random.random() < 0.3:
            self.server.kill()
            self.server.start()
            self.kills["server"] += 1


@pytest.mark.process
@pytest.mark.timeout(400)
def test_no_push_that_returned_is_lost_and_only_what_ran_runs_twice(
    redis_site: Callable[..., RedisSite], own_server: Callable[..., Server], tmp_path: Path
) -> None:
    # (With everysec the death of the server may cost an answered push: its write waits while an fsync is on its way.)
    running = own_server("--appendonly", "yes", "--appendfsync", "always")
    site = redis_site(running.url)
    files = [tmp_path / "pushed0", tmp_path / "pushed1"]
    chaos = RedisChaos(
        site,
        SEED,
        2,
        lambda n, life: ["tests.redis.producer", f"p{n}.{life}", "crash", str(files[n])],
        lambda: len(site.lines()),
    )
    chaos.server = running
    chaos.rage(ROUNDS)
    judge(chaos, SEED, accepted(files), Counter(numbers(site.lines(), "crash")))
    with desk(site) as admin:
        assert admin.check() == []
        counts = admin.counts()["crash"]
        assert (counts.waiting, counts.running, counts.dead) == (0, 0, 0)
        assert counts.done == counts.pushed
