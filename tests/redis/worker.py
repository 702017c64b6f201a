"""An owner in a process of its own, which leases and finishes until it is killed: ``python -m tests.redis.worker``."""

from __future__ import annotations

import sys

import django


def main(url: str, space: str) -> None:
    django.setup()
    from django_graceful.conf import StoreConf
    from django_graceful.stores.redis import RedisStore
    from tests.redis.kit import add_cache, cache_setting

    add_cache("queues", cache_setting(url, space))
    owner = RedisStore(StoreConf("default", "redis", cache="queues")).own(seat="worker")
    while True:
        owner.prepare()
        for lease in owner.lease("q", 5, "w1"):
            print("leased", lease.execution, flush=True)
            owner.finish([lease.execution])
            print("finished", lease.execution, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
