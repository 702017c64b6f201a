"""What tests do to the site's store from their own process: push to its queues, look at its desk."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django_graceful.conf import StoreConf, get_conf
from django_graceful.pushing import Terms, encode, make_plan
from django_graceful.queues import get_queue
from django_graceful.stores.base import StoreAdmin
from django_graceful.stores.redis import RedisStore
from tests.redis.kit import add_cache, cache_setting
from tests.redis.site import RedisSite

_numbers = itertools.count()


@contextmanager
def opened(site: RedisSite, url: str = "", **more: Any) -> Iterator[RedisStore]:
    """The site's store, straight on its server or by another way."""
    alias = f"queues-{site.space}-{next(_numbers)}"  # a store looks at its alias when it first connects
    add_cache(alias, cache_setting(url or site.url, site.space, **site.options))
    store = RedisStore(StoreConf("default", "redis", cache=alias, **more))
    try:
        yield store
    finally:
        store.close()


def records(queue: str, *payloads: Any) -> list[bytes]:
    return encode(payloads, make_plan(get_conf(), get_queue(queue).options), Terms(), lambda payload, key, unique: "")


def push(site: RedisSite, queue: str, *payloads: Any) -> list[str]:
    """Push these; their ids."""
    with opened(site) as store:
        return [item_id.hex() for item_id in store.push(queue, records(queue, *payloads))]


@contextmanager
def desk(site: RedisSite) -> Iterator[StoreAdmin]:
    with opened(site) as store, store.admin() as found:
        yield found
