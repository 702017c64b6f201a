"""Photos and what people say about them."""

from __future__ import annotations

import secrets
from pathlib import PurePath

from django.db import models
from django.urls import reverse


def place_photo(photo: Photo, filename: str) -> str:
    """A fresh name for an uploaded file: of the visitor's own name only the (checked) suffix is kept."""
    return f"photos/{secrets.token_hex(8)}{PurePath(filename).suffix.lower()}"


class Photo(models.Model):
    """A picture on the wall. ``thumbnail`` is empty until the queue has made it."""

    title = models.CharField(max_length=100)
    by = models.CharField("your name", max_length=60)
    picture = models.ImageField(upload_to=place_photo)
    thumbnail = models.ImageField(blank=True, editable=False)
    added_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("wall:photo", args=[self.pk])


class Comment(models.Model):
    """A few words below a photo."""

    photo = models.ForeignKey(Photo, on_delete=models.CASCADE, related_name="comments")
    by = models.CharField("your name", max_length=60)
    text = models.TextField(max_length=1000)
    added_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.by}: {self.text[:40]}"
