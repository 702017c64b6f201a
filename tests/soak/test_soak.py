"""The long forms of tests that the suite has in short, together less than an hour on two cores: ten thousand cancels,
three hundred starts and stops, hundreds of kills.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cancel.storm import Storm, seed
from tests.cancel.test_storm import rage_and_judge
from tests.crash import test_kill_anything as crashes
from tests.harness import Site
from tests.runner.test_cycles import many_cycles
from tests.stable import Stable

pytestmark = [pytest.mark.soak, pytest.mark.process, pytest.mark.timeout(1800)]


def test_ten_thousand_cancels(site: Site) -> None:
    rage_and_judge(Storm(site, seed(), 10_000))


def test_three_hundred_starts_and_stops(site: Site, stable: Stable) -> None:
    many_cycles(site, stable, 301)


def test_four_hundred_kills(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crashes, "ROUNDS", 400)
    crashes.test_no_push_that_returned_is_lost_and_only_what_ran_runs_twice(site, tmp_path, seed())
