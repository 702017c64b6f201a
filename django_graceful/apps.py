"""The Django app: finds every app's ``queues.py`` and registers the system checks. Opens and starts nothing."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from django.apps import AppConfig
from django.conf import settings
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
        _begin_with_tasks()


def _begin_with_tasks() -> None:
    """Know the queues of Django's Tasks, where ``TASKS`` has a backend of ours; the framework's checks run then, too.

    Where the framework is missing, a check of ours says so.
    """
    raw = getattr(settings, "TASKS", None)
    entries = raw.values() if isinstance(raw, Mapping) else ()
    paths = [str(entry.get("BACKEND")) for entry in entries if isinstance(entry, Mapping)]
    if any(not path.startswith(("django.tasks.", "django_tasks.")) for path in paths):
        with suppress(ImportError):
            from django_graceful.tasks import naming

            naming.begin()
