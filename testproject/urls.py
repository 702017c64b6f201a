"""The site's addresses."""

from __future__ import annotations

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import include, path
from django.views.static import serve


def media(request: HttpRequest, path: str) -> HttpResponseBase:
    """An uploaded picture or a thumbnail, served by Django itself: enough for a demo."""
    return serve(request, path, document_root=str(settings.MEDIA_ROOT))


urlpatterns = [
    path("", include("testproject.wall.urls")),
    path("newsletter/", include("testproject.newsletter.urls")),
    path("work/", include("testproject.work.urls")),
    path("outbox/", include("testproject.outbox.urls")),
    path("admin/", admin.site.urls),
    path("media/<path:path>", media),
]
