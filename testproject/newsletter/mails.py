"""The mails of the newsletter. ``send()`` on any of them queues it."""

from __future__ import annotations

from django.core.mail import EmailMessage

from testproject.newsletter.models import Issue, Subscriber

_FOOT = "\n\n-- \nYou get this because you subscribed to Lichtwand's newsletter. Unsubscribe:\n{url}\n"


def issue_mail(issue: Issue, subscriber: Subscriber) -> EmailMessage:
    """``issue`` for one subscriber."""
    return _mail(issue.subject, issue.text, subscriber)


def welcome_mail(subscriber: Subscriber) -> EmailMessage:
    """What a new subscriber gets first."""
    return _mail("Welcome to Lichtwand", "Good to have you with us. The next issue comes to this address.", subscriber)


def _mail(subject: str, text: str, subscriber: Subscriber) -> EmailMessage:
    url = subscriber.unsubscribe_url
    return EmailMessage(
        subject, text + _FOOT.format(url=url), to=[subscriber.email], headers={"List-Unsubscribe": f"<{url}>"}
    )
