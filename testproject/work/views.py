"""A page to queue work and to see it happen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from django_graceful import Queue
from django_graceful.stores import get_store
from testproject.say import queued
from testproject.work.models import Job
from testproject.work.queues import failing, flaky, slow, tiny
from testproject.work.state import COLUMNS, read_state

TINY = 1000


@never_cache
@require_safe
def work(request: HttpRequest) -> HttpResponse:
    """The buttons, the queues, the newest jobs."""
    return render(request, "work/work.html", {"state": read_state(), "columns": COLUMNS})


@never_cache
@require_safe
def state(request: HttpRequest) -> JsonResponse:
    """The same as JSON, for the script that keeps the page up to date."""
    return JsonResponse(read_state())


def push_tiny() -> None:
    """Queue :data:`TINY` jobs that do nothing, in one write."""
    tiny.push_many({"n": n} for n in range(TINY))


def push_job(kind: Queue[dict[str, Any]]) -> None:
    """Queue one job of that kind and remember it for the page."""
    job = Job.objects.create(kind=kind.name)
    try:
        job.item = kind.push({"job": job.pk})
    except BaseException:
        job.delete()
        raise
    job.save(update_fields=["item"])


KINDS: dict[str, tuple[Callable[[], None], str]] = {
    "tiny": (push_tiny, f"{TINY} tiny jobs are queued."),
    "slow": (lambda: push_job(slow), "A slow job is queued. Cancel it, or stop the demo while it runs."),
    "flaky": (
        lambda: push_job(flaky),
        "A job that fails twice is queued. It is tried again after 2 and after 4 seconds.",
    ),
    "failing": (lambda: push_job(failing), "A hopeless job is queued. After three tries it is set aside as dead."),
}


@require_POST
def push(request: HttpRequest) -> HttpResponse:
    """Queue what the pressed button says."""
    kind = request.POST.get("kind", "")
    if kind not in KINDS:
        raise Http404(f"There is no kind of work named {kind!r}.")
    act, success = KINDS[kind]
    with queued(request, success):
        act()
    return redirect("work:work")


@require_POST
def cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Cancel one job, waiting or running."""
    job = get_object_or_404(Job, pk=pk)
    with queued(request, "The job is being cancelled."), get_store().admin() as admin:
        admin.request_cancel(job.item, by="a visitor", reason="the Cancel button")
    return redirect("work:work")


@require_POST
def retry(request: HttpRequest, pk: int) -> HttpResponse:
    """Give a dead or cancelled job its attempts back."""
    job = get_object_or_404(Job, pk=pk)
    with queued(request, "The job waits again."), get_store().admin() as admin:
        admin.retry(job.kind, [job.item])
    return redirect("work:work")
