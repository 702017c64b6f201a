"""Photos and comments in the admin; a photo that is added or changed there gets its thumbnail like any other."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from testproject.wall.models import Comment, Photo
from testproject.wall.queues import make_thumbnail


@admin.register(Photo)
class PhotoAdmin(admin.ModelAdmin):
    list_display = ["title", "by", "added_at"]

    def save_model(self, request: HttpRequest, obj: Photo, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        make_thumbnail.push({"photo": obj.pk}, on_commit=True)


@admin.register(Comment)
class CommentAdmin(admin.ModelAdmin):
    list_display = ["by", "text", "photo", "added_at"]
