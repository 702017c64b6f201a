"""``import_photos``: the example of a command that stops well."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models.signals import post_save
from PIL import Image

from django_graceful import Cancelled, process
from testproject.wall.models import Photo


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A directory with four pictures, and something else."""
    directory = tmp_path / "pictures"
    directory.mkdir()
    for name in ("a.png", "b.PNG", "c.jpg", "d.webp"):
        Image.new("RGB", (8, 4), (200, 90, 30)).save(directory / name)
    (directory / "notes.txt").write_text("none")
    return directory


def imported(*arguments: Any) -> str:
    out = io.StringIO()
    call_command("import_photos", *map(str, arguments), stdout=out)
    return out.getvalue()


def titles() -> list[str]:
    return sorted(Photo.objects.values_list("title", flat=True))


def test_all_pictures_hang_on_the_wall_and_their_thumbnails_are_queued(
    pictures: Path, waiting: Callable[[str], list[Any]], django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        assert imported(pictures, "--by", "Ada") == "4 of 4 pictures are new on the wall.\n"
    assert titles() == ["a", "b", "c", "d"]
    assert set(Photo.objects.values_list("by", flat=True)) == {"Ada"}
    assert [payload["photo"] for payload in waiting("thumbnails")] == sorted(Photo.objects.values_list("pk", flat=True))


def test_stopped_in_the_middle_it_goes_on_where_it_was(pictures: Path) -> None:
    with process("shift") as shift:

        def stop(instance: Photo, **kwargs: Any) -> None:
            if instance.title == "b":
                shift.cancel()

        post_save.connect(stop, sender=Photo)
        try:
            with pytest.raises(Cancelled):
                imported(pictures)
        finally:
            post_save.disconnect(stop, sender=Photo)
    assert titles() == ["a", "b"]
    assert imported(pictures) == "2 of 4 pictures are new on the wall.\n"
    assert titles() == ["a", "b", "c", "d"]


def test_a_directory_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="there is no directory"):
        imported(tmp_path / "nowhere")
