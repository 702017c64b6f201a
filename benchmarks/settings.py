"""The site that is measured: three queues, no pages."""

from __future__ import annotations

import os

SECRET_KEY = "for benchmarks only"
USE_TZ = True
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
INSTALLED_APPS = ["django_graceful", "benchmarks"]
GRACEFUL = {
    "STORES": {
        "default": {
            "BACKEND": "leveldb",
            "PATH": os.environ.get("BENCH_STORE", "/tmp/django-graceful-bench"),
            "DURABILITY": os.environ.get("BENCH_DURABILITY", "os"),
        }
    },
    "LENGTH": 10_000_000,
}
