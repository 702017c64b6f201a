"""The site of django_graceful in the comparison: its defaults, over Redis."""

from __future__ import annotations

import os

SECRET_KEY = "for benchmarks only"
USE_TZ = True
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
INSTALLED_APPS = ["django_graceful", "benchmarks.peers"]
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
    "queues": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": os.environ["PEERS_URL"]},
}
GRACEFUL = {
    "STORES": {"default": {"BACKEND": "redis", "ALIAS": "queues", "RUNTIME": f"{os.environ['PEERS_PLACE']}/runtime"}},
    "LENGTH": 10_000_000,
}
