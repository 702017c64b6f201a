"""Who gets the newsletter, and what is in it."""

from __future__ import annotations

from django.conf import settings
from django.core import signing
from django.db import models
from django.urls import reverse

_SALT = "unsubscribe"


class Subscriber(models.Model):
    """Somebody who wants the newsletter."""

    email = models.EmailField("your address", unique=True)
    since = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return self.email

    @property
    def unsubscribe_url(self) -> str:
        """The whole address under which this subscriber, and nobody else, unsubscribes."""
        token = signing.dumps(self.pk, salt=_SALT)
        return settings.SITE_URL + reverse("newsletter:unsubscribe", args=[token])

    @classmethod
    def of_token(cls, token: str) -> Subscriber | None:
        """The subscriber of an unsubscribe link; None when the link is wrong or the subscriber is gone."""
        try:
            return cls.objects.filter(pk=signing.loads(token, salt=_SALT)).first()
        except signing.BadSignature:
            return None


class Issue(models.Model):
    """One issue. It is on its way from ``ordered_at`` until ``sent_at``."""

    subject = models.CharField(max_length=120)
    text = models.TextField()
    ordered_at = models.DateTimeField(null=True, editable=False)
    sent_at = models.DateTimeField(null=True, editable=False)
    #: Where to go on when the job that sends it was interrupted: subscribers up to this key have their mail.
    sent_up_to = models.BigIntegerField(default=0, editable=False)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return self.subject
