"""The store under test, of every kind; tests of the engine's inside only of the kinds that are made of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.redis.kit import RedisKit
from tests.stores.kit import KITS, Kit

ALL_KITS = {**KITS, "redis": RedisKit}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kit" in metafunc.fixturenames:
        names = KITS if "engine" in metafunc.fixturenames else ALL_KITS
        metafunc.parametrize("kit", sorted(names), indirect=True)


@pytest.fixture
def kit(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kit]:
    found = ALL_KITS[request.param](tmp_path)
    yield found
    found.crash()
