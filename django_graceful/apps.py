"""The Django app: finds every app's ``queues.py`` and registers the system checks. Opens and starts nothing."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext_lazy as _


class DjangoGracefulConfig(AppConfig):
    name = "django_graceful"
    verbose_name = _("Background work")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django_graceful import checks  # noqa: F401
        from django_graceful.schedule import checks as schedule_checks  # noqa: F401
        from django_graceful.stores import load_stores

        load_stores()
        autodiscover_modules("queues")
