"""A site whose web workers keep items in memory, served by gunicorn in these tests."""

from __future__ import annotations

import os

from tests.gunicorn.settings import *  # noqa: F403
from tests.gunicorn.settings import PLACE

ROOT_URLCONF = "tests.spill.urls"
INSTALLED_APPS = ["django_graceful", "tests.spill"]
GRACEFUL = {
    "STORES": {
        "default": {"BACKEND": "leveldb", "PATH": PLACE / "store"},
        "fast": {"BACKEND": "memory", "SPILL_TO": "default", "THREADS": 3},
    },
    "KILL_AFTER": float(os.environ.get("GRACEFUL_TEST_KILL_AFTER", "2")),
}
