"""The Django app: registers the system checks. Its queue is found by ``django_graceful``."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class MailConfig(AppConfig):
    """Queued mail. The label is our own, so that a site may have an app ``mail``."""

    name = "django_graceful.contrib.mail"
    label = "graceful_mail"
    verbose_name = _("Queued mail")

    def ready(self) -> None:
        """Register the checks."""
        from django_graceful.contrib.mail import checks  # noqa: F401
