"""Settings of the site that real web servers serve in these tests."""

from __future__ import annotations

import os

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES

DATABASES["default"]["ATOMIC_REQUESTS"] = "GRACEFUL_TEST_ASGI" not in os.environ
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "tests.web.urls"
MIDDLEWARE = ["django_graceful.middleware.ProcessMiddleware"]
