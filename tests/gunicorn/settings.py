"""The site that gunicorn serves in these tests."""

from __future__ import annotations

import os
from pathlib import Path

PLACE = Path(os.environ["GRACEFUL_TEST_PLACE"])
SECRET_KEY = "for tests only"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = os.environ.get("GRACEFUL_TEST_URLS", "tests.gunicorn.site")
INSTALLED_APPS = ["django_graceful", "tests.site"]
MIDDLEWARE = ["django_graceful.middleware.ProcessMiddleware"] if "GRACEFUL_TEST_BARE" not in os.environ else []
GRACEFUL = {
    "STORES": {"default": {"BACKEND": "leveldb", "PATH": os.environ.get("GRACEFUL_TEST_STORE", PLACE / "store")}},
    "KILL_AFTER": float(os.environ.get("GRACEFUL_TEST_KILL_AFTER", "5")),
    "HAMMER_AFTER": float(os.environ.get("GRACEFUL_TEST_HAMMER_AFTER", "25")),
    "SIDECAR": "GRACEFUL_TEST_SIDECAR" in os.environ,
    "DRAIN_DELAY": float(os.environ.get("GRACEFUL_TEST_DRAIN_DELAY", "0")),
}
