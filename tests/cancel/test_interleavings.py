"""Every order of the steps of a runner, its workers, who cancels and who kills, for two items: each item ends in one
way, a cancel hits only the run that it named, and nothing is lost or doubled (promises P1, P2, P6, P8).

A world (:mod:`tests.cancel.world`) is played from its beginning for each order, and orders that lead to a state that
was met before are not followed further. Here a random part of the orders is played (the seed is printed,
``GRACEFUL_TEST_SEED`` repeats it), in ``make soak`` a hundred times as many, which for some plans are all there are; a
failure names its schedule.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cancel.explorer import PLANS, Explorer
from tests.cancel.storm import seed

MOST = int(os.environ.get("GRACEFUL_TEST_SCHEDULES", "200"))


@pytest.mark.parametrize("name", PLANS)
def test_every_order_ends_well(box: Path, name: str) -> None:
    explorer = Explorer(PLANS[name], box, seed(), MOST)
    explorer.run()
    counted = f"{explorer.schedules} schedules, {len(explorer.known)} states, {len(explorer.open)} left open"
    print(f"{name}, seed {explorer.seed}: {counted}")
    assert explorer.schedules > 50
