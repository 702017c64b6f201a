"""The world of these tests, on both durable stores."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from django_graceful import queue, queues
from django_graceful.outbox import delivery
from django_graceful.stores import close_stores
from tests.outbox.world import World
from tests.redis.kit import add_cache, cache_setting, server

_spaces = itertools.count(1)


@pytest.fixture(params=["leveldb", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path, settings: Any) -> Iterator[str]:
    """The kind of the default store, which is empty."""
    entry: dict[str, Any] = {"BACKEND": "leveldb", "PATH": tmp_path / "store"}
    if request.param == "redis":
        alias = f"outbox-{next(_spaces)}"
        add_cache(alias, cache_setting(server().url, alias))
        entry = {"BACKEND": "redis", "ALIAS": alias, "RUNTIME": tmp_path / "runtime"}
    settings.GRACEFUL = {"STORES": {"default": entry, "memory": {"BACKEND": "memory"}}}
    delivery._resting.clear()
    yield request.param
    close_stores()


@pytest.fixture
def world(store: str, tmp_path: Path, django_db_blocker: Any) -> Iterator[World]:
    found = World(tmp_path, queue("out")(lambda payload: None))
    with django_db_blocker.unblock():
        found.database("default")
        yield found
        found.close()
    del queues._registry["out"]
