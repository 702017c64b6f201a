"""A signal that comes between a fork and the child's own handlers is not lost, and does not do what it does to the
parent.
"""

from __future__ import annotations

import signal

import pytest

from tests.harness import Site

pytestmark = pytest.mark.process

TERM, HUP, QUIT, USR1 = signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("job", f"{-TERM} {-USR1} {-QUIT} {-signal.SIGINT} {-HUP}"),
        ("web", f"{-TERM} {-QUIT} {-signal.SIGINT}"),
        ("command", "7"),
        ("forkserver", "serves"),
        ("sidecar", f"{-TERM} 0"),
    ],
)
def test_a_signal_that_comes_too_early_for_a_fork_waits_for_it(site: Site, kind: str, said: str) -> None:
    found = site.python("-m", "tests.runner.forking", kind)
    assert found.stdout.strip() == said, found.stderr
