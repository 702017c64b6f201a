"""A real runner and ``@every("1s")``."""

from __future__ import annotations

import json
import signal
import time
from typing import Any

import pytest

from tests.harness import Runner, Site, until

pytestmark = pytest.mark.process


def shown(site: Site) -> dict[str, Any]:
    found = site.manage("graceful", "schedules", "--json")
    assert found.returncode == 0, found.stderr
    [row] = json.loads(found.stdout)["schedules"]
    return dict(row)


def pushed(runner: Runner) -> list[str]:
    """The items of which the runner says that it has pushed them."""
    return [line.split()[-2] for line in runner.log if "schedule beat: beat" in line and line.endswith("pushed")]


def test_a_schedule_ticks_is_killed_goes_on_and_is_shown(site: Site) -> None:
    site.env["GRACEFUL_TEST_APP"] = "tests.schedule.beating"
    first = site.runner().serving()
    until(lambda: len(site.lines()) >= 2, "two ticks")
    first.stop(signal.SIGKILL)
    before = len(site.lines())

    second = site.runner().serving()
    until(lambda: len(site.lines()) >= before + 2, "two ticks more")
    second.send(signal.SIGTSTP)
    second.says("quiet: no new work")
    quiet, end = pushed(second), time.monotonic() + 2.5
    until(lambda: time.monotonic() > end, "two ticks to pass")
    assert pushed(second) == quiet, "a runner that takes no work begins none"
    second.send(signal.SIGCONT)
    until(lambda: len(pushed(second)) > len(quiet), "a tick after that")
    until(lambda: len(site.lines()) >= len(pushed(first) + pushed(second)), "all to be done")
    assert second.stop() == 0

    items = pushed(first) + pushed(second)
    assert len(set(items)) == len(items), "no tick was pushed twice"
    assert set(site.lines()) == {"beat hello"}
    row = shown(site)
    assert row["item"] == items[-1]
    assert row["count"] in (len(items), len(items) + 1), "a killed runner may not have said its last push"
    assert row["outcome"] == "done"
    assert row["seconds"] < 10
    assert row["skipped"] <= row["count"]

    drained = site.runner("--drain")
    assert drained.end() == 0
    assert pushed(drained) == [], "what is drained gets no new work"
    assert shown(site)["count"] == row["count"]
