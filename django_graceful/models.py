"""The one table of django_graceful: the outbox, in every database whose transactions items are pushed in."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class OutboxItem(models.Model):
    """An item that was pushed in a transaction and is not known yet to be in its store. A row lives for milliseconds.

    Only :mod:`django_graceful.outbox` writes here.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    #: The alias of the durable store that gets it.
    store = models.CharField(max_length=200)
    queue = models.CharField(max_length=100)
    record = models.BinaryField()
    #: When it was pushed, in seconds since the epoch.
    created = models.FloatField()

    class Meta:
        verbose_name = _("outbox item")
        verbose_name_plural = _("outbox items")
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.queue} {self.id.hex}"
