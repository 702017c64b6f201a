"""Over a thousand cancels at random moments against jobs of all kinds, with real processes (promises P5 and P6)."""

from __future__ import annotations

import time

import pytest

from tests.cancel.storm import Storm, seed
from tests.harness import Site, until

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]


FAULTS = (" ERROR ", " CRITICAL ", "Traceback")


def rage_and_judge(storm: Storm) -> None:
    """Let it rage; nobody is hit but who was asked for, nothing is lost or charged, and nothing is left."""
    runner = storm.start()
    begin = time.monotonic()
    storm.rage()
    totals = storm.calm()
    print(f"seed {storm.seed}: {time.monotonic() - begin:.1f} s, {totals}")
    verdict = storm.verdict()
    story = f"seed {storm.seed}: {verdict.story()}"
    print(story)
    assert verdict.complaints() == [], story
    assert len(verdict.asked) >= storm.cancels
    assert totals["pushed"] == len(storm.jobs) == totals["done"] + totals["stopped"]
    assert (totals["died"], totals["retried"], totals["discarded"]) == (0, 0, 0)
    assert runner.process.poll() is None, runner.log
    faults = [at for at, line in enumerate(runner.log) if any(word in line for word in FAULTS)]
    assert not faults, "\n".join(runner.log[faults[0] : faults[0] + 60])
    assert runner.stop() == 0
    until(lambda: not storm.outlived(), f"{storm.outlived()} to end", 5)


def test_a_storm_of_cancels_hits_nobody_else_and_leaves_nothing(site: Site) -> None:
    rage_and_judge(Storm(site, seed(), 1000))
