"""A fresh store, fresh files and a CSRF-checking visitor for each test of the site."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from PIL import Image

from django_graceful.items import State
from django_graceful.stores import get_store


@pytest.fixture(autouse=True)
def fresh(store_path: Path, settings: Any, tmp_path: Path, db: None) -> None:
    """Nothing that a test writes is there for the next one."""
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.OUTBOX = tmp_path / "outbox.jsonl"
    settings.WEBHOOKS = tmp_path / "webhooks.jsonl"


@pytest.fixture
def visit(django_capture_on_commit_callbacks: Any) -> Callable[..., Any]:
    """Send a form as a browser does: get the page, take its CSRF token, post, follow the redirect."""
    client = Client(enforce_csrf_checks=True)

    def send(page: str, data: dict[str, Any], to: str | None = None) -> Any:
        client.get(page)
        token = client.cookies["csrftoken"].value
        with django_capture_on_commit_callbacks(execute=True):
            return client.post(to or page, {**data, "csrfmiddlewaretoken": token}, follow=True)

    return send


@pytest.fixture
def waiting() -> Callable[[str], list[Any]]:
    """The payloads that wait in a queue."""

    def payloads(queue: str) -> list[Any]:
        with get_store().admin(alone=True) as admin:
            return [found.item.payload for found in admin.page(queue, State.WAITING, limit=2000).items]

    return payloads


@pytest.fixture
def picture() -> SimpleUploadedFile:
    """A picture as it is uploaded, 1200 by 600 pixels."""
    file = io.BytesIO()
    Image.new("RGB", (1200, 600), (200, 90, 30)).save(file, "PNG")
    return SimpleUploadedFile("Ünser Foto.PNG", file.getvalue(), "image/png")
