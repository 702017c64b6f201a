"""Fixtures that every part of the suite uses."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from django_graceful.lifecycle import Phase, node
from django_graceful.nodes import leave
from django_graceful.stores import close_stores
from tests.harness import Site
from tests.stable import Stable

# A suite that was started in the background, or by nohup, would hand ignored signals down to all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
for _number in (signal.SIGHUP, signal.SIGQUIT):
    signal.signal(_number, signal.SIG_DFL)


@pytest.fixture
def store_path(tmp_path: Path, settings: Any) -> Iterator[Path]:
    """A fresh LevelDB store for this test, also in ``settings.GRACEFUL``; its path."""
    path = tmp_path / "store"
    settings.GRACEFUL = {"STORES": {"default": {"BACKEND": "leveldb", "PATH": path}}}
    yield path
    close_stores()


@pytest.fixture(autouse=True)
def unseen() -> Iterator[None]:
    """This process is no node any more after the test, has no thread of one, and no end that has begun."""
    yield
    leave()
    begun = node.phase
    if begun is not Phase.RUNNING:
        node._renew()
    assert begun is Phase.RUNNING, "the test leaves a process behind that is about to end"


@pytest.fixture(scope="module")
def stable() -> Iterator[Stable]:
    """A process that forks runners, for the tests of one module."""
    found = Stable()
    yield found
    found.close()


@pytest.fixture
def site(tmp_path: Path, store_path: Path) -> Iterator[Site]:
    """The test site on a fresh store, for real runners; they end with the test."""
    found = Site(tmp_path, store_path)
    yield found
    found.cleanup()
