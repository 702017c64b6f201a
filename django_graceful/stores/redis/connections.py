"""Connections: from a ``CACHES`` alias of django-redis to clients of our own.

What the site says of the alias (URL, passwords, TLS, Sentinel, connection class) is taken over. What a queue must be
sure of is set here: answers are bytes whatever the cache wants them to be, a call takes no longer than we say, and no
step is sent twice behind our back. Nothing is opened here; the pool of each client starts anew in a forked child.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from django.core.cache import InvalidCacheBackendError
from django.core.exceptions import ImproperlyConfigured
from redis import Redis
from redis.backoff import NoBackoff
from redis.connection import Connection, ConnectionPool
from redis.retry import Retry
from redis.sentinel import SentinelConnectionPool

#: Of a connection's arguments, what its own pool has put there.
_THE_POOLS: Final = (
    "connection_pool",
    "event_dispatcher",
    "himport_registry",
    "maint_notifications_config",
    "maint_notifications_pool_handler",
    "oss_cluster_maint_notifications_handler",
    "orig_host_address",
    "orig_socket_timeout",
    "orig_socket_connect_timeout",
)


def raw_client(alias: str) -> Any:
    """What django-redis gives for that alias. Raises ``ImproperlyConfigured`` when it is none of django-redis."""
    try:
        from django_redis import get_redis_connection
    except ImportError as error:
        raise ImproperlyConfigured(
            "a redis store needs django-redis: pip install django-graceful-queues[redis]"
        ) from error
    try:
        client = get_redis_connection(alias)
    except InvalidCacheBackendError as error:
        raise ImproperlyConfigured(f"CACHES has no {alias!r}: {error}") from error
    except NotImplementedError as error:
        raise ImproperlyConfigured(
            f"CACHES[{alias!r}] is not a cache of django-redis: its BACKEND must be 'django_redis.cache.RedisCache'"
        ) from error
    if not hasattr(getattr(client, "connection_pool", None), "connection_kwargs"):
        raise ImproperlyConfigured(f"CACHES[{alias!r}] is on several servers: queues need one, or one with Sentinel")
    return client


def own_client(model: Any, timeout: float) -> Any:
    """A client for the same server, with a pool of its own. ``timeout`` (seconds): to connect, and for an answer."""
    pool: ConnectionPool = model.connection_pool
    kwargs: dict[str, Any] = {name: value for name, value in pool.connection_kwargs.items() if name not in _THE_POOLS}
    kwargs |= {
        "decode_responses": False,
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_timeout": False,
        "retry_on_error": [],
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
    }
    kind: type[Connection] = pool.connection_class
    if isinstance(pool, SentinelConnectionPool):
        return Redis(
            connection_pool=SentinelConnectionPool(
                pool.service_name,
                pool.sentinel_manager,
                is_master=pool.is_master,
                check_connection=pool.check_connection,
                connection_class=kind,
                **kwargs,
            )
        )
    return Redis(connection_pool=ConnectionPool(connection_class=kind, **kwargs))


@contextmanager
def closing(client: Any) -> Iterator[Any]:
    """The client for the length of a block; all of its connections are closed then."""
    try:
        yield client
    finally:
        client.connection_pool.disconnect()


def where(client: Any) -> str:
    """The server in words, without user and password."""
    pool = client.connection_pool
    if isinstance(pool, SentinelConnectionPool):
        return f"redis (Sentinel service {pool.service_name!r})"
    kwargs = pool.connection_kwargs
    database = kwargs.get("db") or 0
    if "path" in kwargs:
        return f"redis at {kwargs['path']}, database {database}"
    return f"redis at {kwargs.get('host', 'localhost')}:{kwargs.get('port', 6379)}, database {database}"
