"""A queued receiver, from a signal in one process to the function in another's worker."""

from __future__ import annotations

import pytest

from tests.harness import Site

pytestmark = pytest.mark.process

SEND = (
    "from tests.testing.listening.queues import opened; from pathlib import Path; opened.send(sender=Path, door='red')"
)


def test_the_runner_calls_the_receiver_of_a_signal_that_another_process_has_sent(site: Site) -> None:
    site.env["GRACEFUL_TEST_APP"] = "tests.testing.listening"
    sent = site.manage("shell", "--command", SEND)
    assert sent.returncode == 0, sent.stderr
    runner = site.runner("--drain")
    site.said("opened red Path True")
    assert runner.end() == 0
    assert len(site.lines()) == 1
