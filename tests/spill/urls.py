from __future__ import annotations

import time

from django.http import HttpRequest, HttpResponse
from django.urls import path

from tests.gunicorn import site
from tests.spill import queues
from tests.spill.queues import say


def push(request: HttpRequest) -> HttpResponse:
    """``n`` items that take ``seconds``; more of it by the other parameters."""
    seconds, delay = float(request.GET.get("seconds", 0)), float(request.GET.get("delay", 0))
    queue = getattr(queues, request.GET.get("queue", "work"))
    ids = [queue.push({"seconds": seconds}, delay=delay) for _ in range(int(request.GET["n"]))]
    for item_id in ids:
        say("pushed", item_id)
    return HttpResponse(" ".join(ids))


def push_and_block(request: HttpRequest) -> HttpResponse:
    push(request)
    say("begun")
    time.sleep(60)
    return HttpResponse("slept")


async def push_and_block_all(request: HttpRequest) -> HttpResponse:
    """What an async view must not do."""
    return push_and_block(request)


urlpatterns = [
    *site.urlpatterns,
    path("push", push),
    path("push-and-block", push_and_block),
    path("push-and-block-all", push_and_block_all),
]
