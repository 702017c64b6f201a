"""The mails that have arrived at the demo's SMTP server."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from testproject.outbox.store import Mail, count, newest

SHOWN = 40


@never_cache
@require_safe
def outbox(request: HttpRequest) -> HttpResponse:
    """How many mails there are, and the newest ones."""
    mails = [_row(mail) for mail in newest(settings.OUTBOX, SHOWN)]
    return render(request, "outbox/outbox.html", {"total": count(settings.OUTBOX), "mails": mails})


def _row(mail: Mail) -> dict[str, Any]:
    return {"mail": mail, "at": datetime.fromtimestamp(mail.at, UTC)}
