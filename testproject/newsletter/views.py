"""Subscribing, unsubscribing, and (for staff) sending an issue."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.contrib.admin.views.decorators import staff_member_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST

from testproject.newsletter.mails import welcome_mail
from testproject.newsletter.models import Issue, Subscriber
from testproject.newsletter.queues import send_issue
from testproject.say import queued


class SubscribeForm(forms.Form):
    email = forms.EmailField(label="Your address", max_length=254)


def newsletter(request: HttpRequest) -> HttpResponse:
    """The issues so far and the form to subscribe."""
    form = SubscribeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        subscribe(request, form.cleaned_data["email"].lower())
        return redirect("newsletter:newsletter")
    context = {"form": form, "subscribers": Subscriber.objects.count(), "issues": _issues_for(request)}
    return render(request, "newsletter/newsletter.html", context)


def _issues_for(request: HttpRequest) -> list[Issue]:
    issues = Issue.objects.all() if request.user.is_staff else Issue.objects.exclude(sent_at=None)
    return list(issues[:20])


def subscribe(request: HttpRequest, email: str) -> None:
    """Add a subscriber and queue the welcome. Whether the address was known already is not told to whoever asks."""
    subscriber, new = Subscriber.objects.get_or_create(email=email)
    with queued(request, f"Thank you. A welcome is on its way to {email}."):
        if new:
            welcome_mail(subscriber).send()


def unsubscribe(request: HttpRequest, token: str) -> HttpResponse:
    """Ask once (mail scanners follow links), then forget the subscriber."""
    subscriber = Subscriber.of_token(token)
    if request.method == "POST":
        if subscriber is not None:
            subscriber.delete()
        messages.success(request, "You get no more mail from us.")
        return redirect("newsletter:newsletter")
    return render(request, "newsletter/unsubscribe.html", {"subscriber": subscriber})


@staff_member_required
@require_POST
def send(request: HttpRequest, pk: int) -> HttpResponse:
    """Queue an issue for all subscribers. Pressed twice, it is still sent once."""
    issue = get_object_or_404(Issue, pk=pk, sent_at=None)
    with queued(request, f"“{issue.subject}” is on its way. The outbox shows the mails as they arrive."):
        send_issue.push({"issue": issue.pk})
        Issue.objects.filter(pk=pk).update(ordered_at=timezone.now())
    return redirect("newsletter:newsletter")
