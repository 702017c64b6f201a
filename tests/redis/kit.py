"""A redis store under the conformance suite, each in a key space of its own on one server for all tests."""

from __future__ import annotations

import atexit
import itertools
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.cache import caches
from django.test.signals import setting_changed

from django_graceful.conf import StoreConf
from django_graceful.stores.base import Witness
from django_graceful.stores.redis import RedisStore
from django_graceful.stores.redis.owner import RedisOwner
from tests.redis.server import Server
from tests.stores.kit import Clock, Kit

_numbers = itertools.count(1)


@cache
def server() -> Server:
    """The server of this test process."""
    directory = tempfile.TemporaryDirectory(prefix="graceful-redis-")
    found = Server(Path(directory.name))
    atexit.register(directory.cleanup)
    atexit.register(found.kill)
    return found


def cache_setting(url: str, prefix: str = "", **options: Any) -> dict[str, Any]:
    return {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url, "KEY_PREFIX": prefix, "OPTIONS": options}


def add_cache(alias: str, entry: dict[str, Any]) -> None:
    """A cache alias more, as if it had been in the settings."""
    settings.CACHES = {**settings.CACHES, alias: entry}
    setting_changed.send(sender=None, setting="CACHES", value=settings.CACHES, enter=True)
    assert alias in caches.settings


class ServerClock(Clock):
    """The clock of this machine, on which the server is."""

    def __call__(self) -> float:
        return time.time()


class RedisKit(Kit):
    owner: RedisOwner

    def __init__(self, path: Path) -> None:
        self.space = f"test{next(_numbers)}"
        self.alias = f"queues-{self.space}"
        add_cache(self.alias, cache_setting(server().url, self.space))
        self.clock = Clock()
        self.store = RedisStore(StoreConf("default", "redis", cache=self.alias), self.clock)
        super().__init__()

    @classmethod
    def at(cls, store: RedisStore, seat: str = "the only one") -> RedisKit:
        """A kit for that store, on the server's own clock."""
        found = cls.__new__(cls)
        found.clock = ServerClock()
        found.store = store
        found.owner = store.own(seat=seat)
        return found

    def open(self, witness: Witness | None = None, *, max_crashes: int = 3) -> None:
        # The clock of Kit is a new one.
        self.store.line._clock = self.clock
        self.owner = self.store.own(witness, max_crashes=max_crashes, seat="the only one")

    def crash(self) -> None:
        """Its connections end, and that is all."""
        self.store.close()
