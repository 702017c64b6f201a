"""Whatever is killed at whatever moment: every push that returned is handled, and only what ran runs twice (P1, P2).

Producers push without pause, a runner handles, and random victims get SIGKILL at random moments. Set
``GRACEFUL_TEST_SEED`` to repeat a run and ``GRACEFUL_TEST_ROUNDS`` for a longer one.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.chaos import Chaos
from tests.harness import Site, numbers
from tests.mail.post import Post, PostOffice

pytestmark = [pytest.mark.process, pytest.mark.timeout(400)]

ROUNDS = int(os.environ.get("GRACEFUL_TEST_ROUNDS", "50"))


@pytest.fixture
def seed() -> int:
    return int(os.environ.get("GRACEFUL_TEST_SEED", random.randrange(1 << 30)))


@pytest.fixture
def post() -> Iterator[Post]:
    """A real SMTP server."""
    found = Post()
    office = PostOffice(found)
    office.start()
    found.port = office.port
    yield found
    office.stop()


def judge(chaos: Chaos, seed: int, pushed: set[str], handled: Counter[str]) -> None:
    lost = pushed - handled.keys()
    twice = sum(count - 1 for count in handled.values())
    story = f"seed {seed}: {len(pushed)} pushes, kills {dict(chaos.kills)}, {twice} run twice, {len(lost)} lost"
    print(story)
    assert not lost, f"{story}: {sorted(lost)[:20]}"
    assert twice <= chaos.exposed, f"{story}, only {chaos.exposed} can have been running"


def accepted(files: list[Path]) -> set[str]:
    return {line for path in files if path.exists() for line in path.read_text().splitlines()}


def test_no_push_that_returned_is_lost_and_only_what_ran_runs_twice(site: Site, tmp_path: Path, seed: int) -> None:
    files = [tmp_path / "pushed0", tmp_path / "pushed1"]
    chaos = Chaos(
        site,
        seed,
        2,
        lambda n, life: ["tests.crash.producer", f"p{n}.{life}", "crash", str(files[n])],
        lambda: len(site.lines()),
    )
    chaos.rage(ROUNDS)
    judge(chaos, seed, accepted(files), Counter(numbers(site.lines(), "crash")))


def test_no_mail_that_was_accepted_is_lost_and_none_is_sent_twice_but_what_was_on_the_wire(
    site: Site, tmp_path: Path, post: Post, seed: int
) -> None:
    site.env["GRACEFUL_TEST_SMTP"] = str(post.port)
    sent = tmp_path / "sent"
    chaos = Chaos(
        site,
        seed,
        1,
        lambda n, life: ["tests.crash.mailer", f"m{life}", str(sent)],
        lambda: len(post.delivered),
    )
    chaos.rage(max(10, ROUNDS // 4), 40)
    judge(chaos, seed, accepted([sent]), Counter(post.subjects))
