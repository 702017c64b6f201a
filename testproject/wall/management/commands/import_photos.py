"""``manage.py import_photos DIRECTORY``: a long import that may be stopped at any time, and goes on where it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.files import File
from django.core.management.base import CommandError, CommandParser
from django.db import transaction

from django_graceful.management import GracefulCommand
from testproject.wall.models import Photo
from testproject.wall.queues import make_thumbnail

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


class Command(GracefulCommand):
    help = "Hang all pictures of a directory on the wall. Those that hang there already are left out."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("directory", type=Path)
        parser.add_argument("--by", default="The studio", metavar="NAME", help="whose pictures they are")

    def handle(self, *args: Any, **options: Any) -> None:
        directory, by = options["directory"], options["by"]
        if not directory.is_dir():
            raise CommandError(f"there is no directory {directory}")
        files = sorted(file for file in directory.iterdir() if file.suffix.lower() in SUFFIXES)
        hung = 0
        for n, file in enumerate(files):
            self.process.check()  # TERM, Ctrl-C and "graceful cancel" stop it here, between two pictures
            self.process.progress(n, len(files), file.name)
            hung += hang(file, by)
        self.stdout.write(f"{hung} of {len(files)} pictures are new on the wall.")


def hang(file: Path, by: str) -> bool:
    """Put one picture on the wall, and queue its thumbnail; whether it was new."""
    title = file.stem[:100]
    if Photo.objects.filter(title=title, by=by).exists():
        return False
    with file.open("rb") as content, transaction.atomic():
        photo = Photo.objects.create(title=title, by=by, picture=File(content, name=file.name))
        make_thumbnail.push({"photo": photo.pk}, on_commit=True)
    return True
