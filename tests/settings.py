"""Settings of the test suite: no web site, one database, a store in a directory that each test gets fresh."""

from __future__ import annotations

import json
import os
import tempfile
from importlib.util import find_spec
from pathlib import Path

import django

BASE_DIR = Path(__file__).resolve().parent
SECRET_KEY = "for tests only"
USE_TZ = True
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ.get("GRACEFUL_TEST_DB", ":memory:")}
}
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django_graceful",
    "django_graceful.contrib.mail",
    "tests.site",
    *filter(None, [os.environ.get("GRACEFUL_TEST_APP")]),
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
_path = os.environ.get("GRACEFUL_TEST_STORE") or os.path.join(tempfile.gettempdir(), f"graceful-tests-{os.getpid()}")
GRACEFUL = {
    "STORES": {
        "default": {"BACKEND": "leveldb", "PATH": _path, "DURABILITY": os.environ.get("GRACEFUL_TEST_DURABILITY", "os")}
    },
    **json.loads(os.environ.get("GRACEFUL_TEST_EXTRA", "{}")),
}

# Tasks of Django's framework; of any queue name.
if django.VERSION >= (6, 0) or find_spec("django_tasks") is not None:
    TASKS = {
        "default": {
            "BACKEND": "django_graceful.tasks.GracefulBackend",
            "QUEUES": json.loads(os.environ.get("GRACEFUL_TEST_TASK_QUEUES", "[]")),
            "OPTIONS": {},
        }
    }

# A store on a server of the test.
if "GRACEFUL_TEST_REDIS" in os.environ:
    CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        "queues": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": os.environ["GRACEFUL_TEST_REDIS"].split(" "),
            **json.loads(os.environ.get("GRACEFUL_TEST_CACHE", "{}")),
        },
    }
    GRACEFUL["STORES"] = {
        "default": {
            "BACKEND": "redis",
            "ALIAS": "queues",
            "RUNTIME": _path,
            **json.loads(os.environ.get("GRACEFUL_TEST_STORE_EXTRA", "{}")),
        }
    }

# Runners that deliver to a real SMTP server of the test.
if "GRACEFUL_TEST_SMTP" in os.environ:
    _port = int(os.environ["GRACEFUL_TEST_SMTP"])
    _queued = "django_graceful.contrib.mail.backend.EmailBackend"
    if django.VERSION >= (6, 1):
        MAILERS = {
            "default": {"BACKEND": _queued, "OPTIONS": {"deliver_using": "smtp"}},
            "smtp": {
                "BACKEND": "django.core.mail.backends.smtp.EmailBackend",
                "OPTIONS": {"host": "127.0.0.1", "port": _port},
            },
        }
    else:
        EMAIL_BACKEND, EMAIL_HOST, EMAIL_PORT = _queued, "127.0.0.1", _port
