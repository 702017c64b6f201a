"""System checks of redis stores: what is wrong with the cache alias, and (``check --deploy`` only) with its server.

The first look at the settings only. The others ask the server, which they wait for two seconds at most; they change
nothing, and never raise. Their ids are in the table of :mod:`django_graceful.checks`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.utils.module_loading import import_string

from django_graceful.conf import StoreConf
from django_graceful.options import nearest

logger = logging.getLogger("django_graceful.checks")

#: Seconds.
_PATIENCE: Final = 2.0
#: The oldest release whose scripts behave as ours need it.
_OLDEST: Final = (6, 2)
_EXAMPLE: Final = "CACHES = {'queues': {'BACKEND': 'django_redis.cache.RedisCache', 'LOCATION': 'redis://…/1'}, …}"


def check_alias(conf: StoreConf) -> Iterator[CheckMessage]:
    """E010, W009: the alias of this store in ``CACHES``."""
    caches = getattr(settings, "CACHES", {})
    where = f"The redis store {conf.alias!r}"
    if find_spec("django_redis") is None:
        hint = "pip install django-graceful-queues[redis]"
        yield Error(f"{where} needs the package django-redis, which is not installed.", hint=hint, id=_id("E010"))
    elif conf.cache not in caches:
        text = f"{where} names the cache {conf.cache!r}, which CACHES does not have{nearest(conf.cache, caches)}."
        yield Error(text, hint=_EXAMPLE, id=_id("E010"))
    elif not _is_django_redis(caches[conf.cache]):
        text = f"{where} names the cache {conf.cache!r}, whose BACKEND is not django-redis."
        yield Error(text, hint=_EXAMPLE, id=_id("E010"))
    else:
        yield from _check_neighbours(conf, where, caches)


def _check_neighbours(conf: StoreConf, where: str, caches: Mapping[str, Any]) -> Iterator[CheckMessage]:
    database = _database(caches[conf.cache])
    shared = [alias for alias in caches if alias != conf.cache and database and _database(caches[alias]) == database]
    hint = "cache.clear() empties a whole database (FLUSHDB), the queues in it too. Give the queues one of their own."
    if shared:
        text = f"{where} shares its database with the cache {shared[0]!r}."
        yield Warning(text, hint=hint, id=_id("W009"))
    elif conf.cache == "default":
        yield Warning(f"{where} is in the default cache.", hint=hint, id=_id("W009"))


def check_server(conf: StoreConf) -> Iterator[CheckMessage]:
    """E011, W010, W011, W012: the server of this store."""
    where = f"The redis store {conf.alias!r}"
    try:
        from django_graceful.stores.redis.connections import closing, own_client, raw_client

        with closing(own_client(raw_client(conf.cache), _PATIENCE)) as client:
            info, save = client.info(), _save(client)
    except Exception as error:
        logger.debug("%s can not be looked at", where, exc_info=True)
        text = f"{where} can not be looked at: {type(error).__name__}."
        yield Warning(text, hint="Is the server there, and is the LOCATION right?", id=_id("W012"))
        return
    yield from judge(where, info, save)


def judge(where: str, info: Mapping[str, Any], save: str | None) -> Iterator[CheckMessage]:
    """What ``INFO`` and ``CONFIG GET save`` (None: may not be asked) say about a server. Pure."""
    version = str(info.get("redis_version", ""))
    if _numbers(version) < _OLDEST:
        text = f"{where} is on a server of version {version}, which is too old."
        yield Error(text, hint="Redis 6.2 and later, and Valkey, will do.", id=_id("E011"))
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        text = f"{where} is on a server that throws keys away when its memory is full (maxmemory-policy {policy})."
        yield Warning(text, hint="CONFIG SET maxmemory-policy noeviction", id=_id("W010"))
    if not info.get("aof_enabled") and info.get("role", "master") == "master":
        loss = "all that is queued" if save == "" else "what was queued in the last minutes"
        text = f"{where} is on a server without an append-only file: its restart loses {loss}."
        yield Warning(text, hint="CONFIG SET appendonly yes, and write it into its configuration.", id=_id("W011"))


def _save(client: Any) -> str | None:
    """When the server saves its data; None when it may not be asked (managed servers)."""
    from redis.exceptions import RedisError

    try:
        found: dict[str, str] = client.config_get("save")
    except RedisError:
        return None
    return next((_text(value) for value in found.values()), None)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _numbers(version: str) -> tuple[int, ...]:
    parts = version.split(".")[:2]
    return tuple(int(part) for part in parts) if len(parts) == 2 and all(map(str.isdecimal, parts)) else _OLDEST


def _is_django_redis(entry: Any) -> bool:
    from django_redis.cache import RedisCache

    try:
        found = import_string(entry["BACKEND"])
    except (ImportError, KeyError, TypeError, AttributeError):
        return False
    return isinstance(found, type) and issubclass(found, RedisCache)


def _database(entry: Any) -> tuple[str, int, str] | None:
    """Host (or path), port and number of the database of a cache; None when it is none of Redis."""
    location = entry.get("LOCATION") if isinstance(entry, Mapping) else None
    url = location[0] if isinstance(location, list | tuple) and location else location
    if not isinstance(url, str):
        return None
    try:
        parts = urlsplit(url.split(",", maxsplit=1)[0])
        port = parts.port or 6379
    except ValueError:
        return None
    asked = parse_qs(parts.query).get("db", [""])[0]
    if parts.scheme in ("redis", "rediss"):
        return parts.hostname or "localhost", port, asked or parts.path.strip("/") or "0"
    return (parts.path, 0, asked or "0") if parts.scheme == "unix" else None


def _id(number: str) -> str:
    return f"django_graceful.{number}"
