"""Who hears of a new photo, however it came: through the page, the admin or a command. Each in an item of its own."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.core.mail import send_mail
from django.db.models.signals import post_save

from django_graceful.receivers import queued_receiver
from testproject.wall.models import Photo


@queued_receiver(post_save, sender=Photo)
def mail_studio(instance: Photo, created: bool, **kwargs: Any) -> None:
    """Mail the studio."""
    if created:
        address = f"{settings.SITE_URL}{instance.get_absolute_url()}"
        send_mail(f"{instance.by} has hung up “{instance.title}”", f"{address}\n", None, [settings.STUDIO])


@queued_receiver(post_save, sender=Photo)
def call_hook(instance: Photo, created: bool, **kwargs: Any) -> None:
    """Tell the world outside. What would be a request to somebody's webhook is a line in a file of the demo.

    A photo may come twice, as with any webhook: its number says which it is.
    """
    if created:
        event = {"event": "photo.added", "photo": instance.pk, "title": instance.title, "by": instance.by}
        with settings.WEBHOOKS.open("a") as file:
            file.write(json.dumps(event) + "\n")
