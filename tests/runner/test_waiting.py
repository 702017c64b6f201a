"""A runner that waits for its turn: ``runqueues --wait``."""

from __future__ import annotations

import signal

import pytest

from tests.harness import Site

pytestmark = pytest.mark.process


def test_a_runner_that_waits_begins_when_the_other_one_has_ended(site: Site) -> None:
    first = site.runner().serving()
    second = site.runner("--wait")
    assert f"the runner with pid {first.pid}" in second.says("waiting until it lets go")
    assert first.stop() == 0
    second.serving()
    assert len([line for line in second.log if "waiting until" in line]) == 1
    assert second.stop() == 0


def test_it_takes_over_from_one_that_was_killed(site: Site) -> None:
    first = site.runner().serving()
    second = site.runner("--wait")
    second.says("waiting until it lets go")
    first.send(signal.SIGKILL)
    second.serving()


def test_it_can_be_stopped_while_it_waits(site: Site) -> None:
    site.runner().serving()
    second = site.runner("--wait")
    second.says("waiting until it lets go")
    assert second.stop() == -signal.SIGTERM


def test_without_another_one_it_begins_at_once_and_without_wait_it_is_refused(site: Site) -> None:
    first = site.runner("--wait").serving()
    assert not [line for line in first.log if "waiting until" in line]
    other = site.runner()
    assert other.end() == 1
    assert f"pid {first.pid}" in "\n".join(other.log)
