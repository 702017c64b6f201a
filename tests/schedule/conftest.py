"""Schedules of a test's own, and owners of stores with a clock to set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from django_graceful import queues
from django_graceful.schedule import registry
from tests.redis.kit import RedisKit
from tests.stores.kit import KITS, Kit

ALL_KITS = {**KITS, "redis": RedisKit}


@pytest.fixture(autouse=True)
def declared(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The queues of the test; neither they nor its schedules are there afterwards."""
    found: dict[str, Any] = {}
    monkeypatch.setattr(queues, "_registry", found)
    monkeypatch.setattr(registry, "_declared", {})
    return found


@pytest.fixture(params=sorted(ALL_KITS))
def kit(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kit]:
    found = ALL_KITS[request.param](tmp_path)
    yield found
    found.crash()
