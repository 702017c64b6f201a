"""The address of the metrics: ``path("", include("django_graceful.metrics.urls"))`` gives ``/metrics``."""

from __future__ import annotations

from django.urls import re_path

from django_graceful.metrics.views import metrics

app_name = "django_graceful_metrics"

urlpatterns = [re_path(r"^metrics/?$", metrics, name="metrics")]
