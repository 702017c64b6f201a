from __future__ import annotations

from django.apps import AppConfig


class WorkConfig(AppConfig):
    name = "testproject.work"
    verbose_name = "Work to try"
