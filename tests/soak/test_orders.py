"""The orders of steps of :mod:`tests.cancel.test_interleavings`, as far as they go in a few minutes each."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cancel.explorer import PLANS, Explorer
from tests.cancel.storm import seed

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1200)]


@pytest.mark.parametrize("name", PLANS)
def test_the_orders_of_steps_as_far_as_they_go(box: Path, name: str) -> None:
    explorer = Explorer(PLANS[name], box, seed(), 20_000)
    explorer.run()
    print(f"{name}: {explorer.schedules} schedules, {len(explorer.known)} states, {len(explorer.open)} left open")
