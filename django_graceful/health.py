"""Health views for load balancers, Kubernetes and the like; :mod:`django_graceful.urls` has their addresses.

Both are cheap: no database, no session, no store is opened. They answer GET and HEAD, under WSGI and ASGI, are never
cached, and need no login: they tell a stranger the phase of a process, and of a store no more than whether it can be
used. A queue in trouble does not make a web process unready (promise P10): requests go on, so ``ready`` only shows it.
"""

from __future__ import annotations

import logging

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from django_graceful import readiness
from django_graceful.conf import get_conf
from django_graceful.lifecycle import node
from django_graceful.places import look

logger = logging.getLogger("django_graceful.health")


@never_cache
@require_safe
def live(request: HttpRequest) -> HttpResponse:
    """200, always: this process answers. Whoever gets no answer may start it anew."""
    return JsonResponse({"live": True})


@never_cache
@require_safe
def ready(request: HttpRequest) -> HttpResponse:
    """200 while this process wants new requests, else 503. The JSON has ``ready``, ``reasons`` (a list of texts),
    ``phase`` and ``stores``: by alias, whether a push can be kept there (null: not known without asking a server).
    """
    reasons = readiness.reasons()
    body = {"ready": not reasons, "reasons": reasons, "phase": str(node.phase), "stores": _stores()}
    response = JsonResponse(body, status=503 if reasons else 200)
    vars(response)["_has_been_logged"] = True  # Django would log each 503 as an error, which may send a mail
    return response


def _stores() -> dict[str, bool | None]:
    found: dict[str, bool | None] = {}
    for alias, conf in get_conf().stores.items():
        obstacle = look(conf.path).obstacle if conf.backend == "leveldb" else ""
        if obstacle:
            logger.warning("store %s can not be used: %s", alias, obstacle)
        found[alias] = None if conf.backend == "redis" else not obstacle
    return found
