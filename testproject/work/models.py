"""What visitors have queued to try it, as the page shows it."""

from __future__ import annotations

from django.db import models


class Job(models.Model):
    """One job. Where it is (waiting, running …) the store knows; here is what the handler itself has noted."""

    kind = models.CharField(max_length=20)
    #: The id that ``push`` returned.
    item = models.CharField(max_length=32, blank=True)
    tries = models.PositiveIntegerField(default=0)
    percent = models.PositiveSmallIntegerField(default=0)
    added_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"
