"""Addresses of the health views: ``path("", include("django_graceful.urls"))`` gives ``/health/live`` and
``/health/ready``; both work with and without a slash at the end.
"""

from __future__ import annotations

from django.urls import re_path

from django_graceful import health

app_name = "django_graceful"

urlpatterns = [
    re_path(r"^health/live/?$", health.live, name="live"),
    re_path(r"^health/ready/?$", health.ready, name="ready"),
]
