"""The newsletter's background work: one job for an issue, which queues one mail for each subscriber."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from django_graceful import process, queue
from testproject.newsletter.mails import issue_mail
from testproject.newsletter.models import Issue, Subscriber

#: Mails between two notes of how far it is.
CHUNK = 50


@queue("newsletter", max_workers=1, unique="finished", key=lambda payload: str(payload["issue"]))
def send_issue(payload: dict[str, Any]) -> None:
    """Mail an issue to all subscribers. Interrupted, it goes on where it was: at most one chunk gets its mail twice."""
    issue = Issue.objects.get(pk=payload["issue"])
    subscribers = Subscriber.objects.all()
    total = subscribers.count()
    done = subscribers.filter(pk__lte=issue.sent_up_to).count()
    with process(f"Issue “{issue.subject}”") as running:
        while chunk := list(subscribers.filter(pk__gt=issue.sent_up_to)[:CHUNK]):
            running.check()
            for subscriber in chunk:
                issue_mail(issue, subscriber).send()
            issue.sent_up_to = chunk[-1].pk
            issue.save(update_fields=["sent_up_to"])
            done += len(chunk)
            running.progress(done, total)
    Issue.objects.filter(pk=issue.pk).update(sent_at=timezone.now())
