"""The store on Redis or Valkey, through django-redis: one store for many hosts (promises P1, P2, P3, P7, P8 and P10).

Every step is one call of a Lua script (``scripts/*.lua``), which Redis carries out as one atomic write. Any process may
push, look and give orders; every runner is an owner, and leases tell which items are whose.
"""

from __future__ import annotations

from django_graceful.stores.redis.store import RedisStore

__all__ = ["RedisStore"]
