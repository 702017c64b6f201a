"""The site that is measured: three queues, no pages."""

from __future__ import annotations

import os

SECRET_KEY = "for benchmarks only"
USE_TZ = True
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
INSTALLED_APPS = ["django_graceful", "benchmarks"]
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
    "queues": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": os.environ.get("BENCH_REDIS", "")},
}
LEVELDB = {
    "BACKEND": "leveldb",
    "PATH": os.environ.get("BENCH_STORE", "/tmp/django-graceful-bench"),
    "DURABILITY": os.environ.get("BENCH_DURABILITY", "os"),
}
REDIS = {"BACKEND": "redis", "ALIAS": "queues", "RUNTIME": LEVELDB["PATH"]}
GRACEFUL = {
    "STORES": {"default": REDIS if os.environ.get("BENCH_REDIS") else LEVELDB},
    "LENGTH": 10_000_000,
}
