"""Stores on the server of this test process, and servers of a test's own that may be killed."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from django_graceful.conf import StoreConf
from django_graceful.stores.redis import RedisStore
from tests.redis.kit import RedisKit, add_cache, cache_setting, server
from tests.redis.proxy import Proxy
from tests.redis.server import Server
from tests.redis.site import RedisSite


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[RedisKit]:
    found = RedisKit(tmp_path)
    yield found
    found.crash()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers with their data below the test's directory; they end with the test."""
    servers: list[Server] = []

    def start(*options: str, **kwargs: bool) -> Server:
        servers.append(Server(tmp_path / f"server{len(servers)}", *options, **kwargs))
        return servers[-1]

    yield start
    for running in servers:
        running.kill()


@pytest.fixture
def open_store(request: pytest.FixtureRequest) -> Iterator[Callable[..., RedisStore]]:
    """Makes stores at a URL, with these options of the cache; they are closed with the test."""
    stores: list[RedisStore] = []

    def make(url: str, **options: object) -> RedisStore:
        alias = f"{request.node.name}-{len(stores)}"
        add_cache(alias, cache_setting(url, **options))
        stores.append(RedisStore(StoreConf("default", "redis", cache=alias)))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def redis_site(tmp_path: Path) -> Iterator[Callable[..., RedisSite]]:
    """Makes test sites on a server (that of this test process, if no URL is given); their runners end with the test."""
    sites: list[RedisSite] = []

    def make(url: str = "", options: dict[str, object] | None = None, **store: object) -> RedisSite:
        found = RedisSite(tmp_path, url or server().url, f"site{uuid.uuid4().hex[:8]}", options or {}, **store)
        sites.append(found)
        return found

    yield make
    for site in sites:
        site.cleanup()


@pytest.fixture
def proxied() -> Iterator[Callable[[Server], Proxy]]:
    """Puts networks before servers."""
    proxies: list[Proxy] = []

    def make(running: Server) -> Proxy:
        proxies.append(Proxy(running.port))
        return proxies[-1]

    yield make
    for proxy in proxies:
        proxy.close()
