"""The wall, one photo with its comments, and the form for a new one."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from django.conf import settings
from django.core.mail import send_mail
from django.db.models import Count
from django.http import FileResponse, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_safe

from django_graceful import run
from testproject.say import queued
from testproject.wall.forms import CommentForm, PhotoForm
from testproject.wall.models import Comment, Photo
from testproject.wall.queues import make_thumbnail

NEWEST = 60


@require_safe
def wall(request: HttpRequest) -> HttpResponse:
    """The newest photos."""
    photos = Photo.objects.annotate(said=Count("comments"))[:NEWEST]
    return render(request, "wall/wall.html", {"photos": photos})


@require_safe
def thumbnail(request: HttpRequest, pk: int) -> JsonResponse:
    """Where the thumbnail is; ``null`` while the queue has not made it."""
    photo = get_object_or_404(Photo, pk=pk)
    return JsonResponse({"url": photo.thumbnail.url if photo.thumbnail else None})


def add(request: HttpRequest) -> HttpResponse:
    """Put a photo on the wall; its thumbnail is queued."""
    form = PhotoForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        found = form.save()
        with queued(request, "Your photo hangs on the wall. Its thumbnail is being made."):
            make_thumbnail.push({"photo": found.pk}, on_commit=True)
        return redirect("wall:wall")
    return render(request, "wall/add.html", {"form": form})


@require_safe
def archive(request: HttpRequest) -> FileResponse:
    """All photos in one file. ``tar`` ends with the request: when it is cancelled, or the server stops."""
    names = "\0".join(str(photo.picture) for photo in Photo.objects.all())
    with TemporaryDirectory() as place:
        made = Path(place, "photos.tar")
        run(["tar", "--create", f"--file={made}", "--null", "--files-from=-"], cwd=settings.MEDIA_ROOT, input=names)
        return FileResponse(made.open("rb"), as_attachment=True, filename=made.name)


def photo(request: HttpRequest, pk: int) -> HttpResponse:
    """One photo; a comment on it sends a mail to the studio, through the queue."""
    found = get_object_or_404(Photo, pk=pk)
    form = CommentForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        comment = form.save(commit=False)
        comment.photo = found
        comment.save()
        with queued(request, "Thank you. The studio gets a mail about your comment."):
            tell_studio(comment)
        return redirect(found)
    return render(request, "wall/photo.html", {"photo": found, "form": form, "comments": found.comments.all()})


def tell_studio(comment: Comment) -> None:
    """Mail the studio about a comment. The mail is queued: this takes no longer than a push."""
    photo = comment.photo
    send_mail(
        f"{comment.by} has commented on “{photo.title}”",
        f"{comment.text}\n\n{settings.SITE_URL}{photo.get_absolute_url()}\n",
        None,
        [settings.STUDIO],
    )
