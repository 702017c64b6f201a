"""A directory for worlds."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cancel.box import PREFIX, boxed_in


@pytest.fixture(scope="module")
def box() -> Iterator[Path]:
    """A directory in memory, for slates; worlds may be made meanwhile."""
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir="/dev/shm") as name, boxed_in():
        yield Path(name)
