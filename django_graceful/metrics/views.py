"""The view behind ``/metrics``: GET and HEAD, for who has the token. It opens no store and touches no database.

``GRACEFUL["METRICS"]["TOKEN"]`` is what Prometheus sends (``authorization: credentials``), and None lets everybody
read, for a site whose proxy keeps strangers out. Without the setting nobody may: names of queues are nobody's business.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from django_graceful.conf import get_conf
from django_graceful.metrics.exposition import Collector, expose

_CLOSED = "Closed: set GRACEFUL['METRICS']['TOKEN'] to a secret that Prometheus sends, or to None for everybody.\n"


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """All metrics, within a second: 401 without the right token, 403 while none is set."""
    refusal = _refusal(request)
    if refusal is not None:
        return refusal
    body, content_type = expose(Collector(), request.headers.get("Accept", ""))
    return HttpResponse(body, content_type=content_type)


def _refusal(request: HttpRequest) -> HttpResponse | None:
    token = get_conf().metrics.token
    if token is None:
        return None
    if not token:
        return HttpResponse(_CLOSED, status=403, content_type="text/plain")
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and constant_time_compare(given.strip(), token):
        return None
    headers = {"WWW-Authenticate": "Bearer"}
    return HttpResponse(
        "The bearer token is missing or wrong.\n", status=401, content_type="text/plain", headers=headers
    )
