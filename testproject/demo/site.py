"""What the demo prepares before it starts anything: database, admin, and something to look at. Safe to repeat."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import cast

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.db import connections, transaction

from django_graceful.exceptions import StoreError
from django_graceful.stores import get_store
from django_graceful.stores.base import Counts
from django_graceful.stores.leveldb import LevelDBStore
from testproject.demo.samples import SCENES, paint
from testproject.newsletter.models import Issue, Subscriber
from testproject.secret import kept_secret
from testproject.wall.models import Photo
from testproject.wall.queues import make_thumbnail

SUBSCRIBERS = 250
logger = logging.getLogger("django_graceful.demo")


@dataclass(slots=True, frozen=True)
class Login:
    """The admin's. ``password`` is None when somebody has changed it since."""

    name: str
    password: str | None


def prepare() -> Login:
    """Migrate, make what is missing, and leave no connection open."""
    call_command("migrate", verbosity=0, interactive=False)
    login = ensure_admin()
    hang_samples()
    found_newsletter()
    connections.close_all()
    return login


def ensure_admin() -> Login:
    """The user “admin”, made with a random password that is kept in ``var/``."""
    password = kept_secret(settings.VAR / "admin-password", length=12)
    users = get_user_model().objects
    admin = users.filter(username="admin").first() or users.create_superuser("admin", settings.STUDIO, password)
    return Login("admin", password if admin.check_password(password) else None)


def hang_samples() -> None:
    """Photos for an empty wall; their thumbnails wait in the queue until the runner is there.

    In bulk, which sends no signal: nobody gets a mail about them.
    """
    if Photo.objects.exists():
        return
    with transaction.atomic():
        photos = Photo.objects.bulk_create(
            Photo(title=scene.title, by=scene.by, picture=ContentFile(paint(scene), "sample.jpg"))
            for scene in reversed(SCENES)
        )
        make_thumbnail.push_many([{"photo": photo.pk} for photo in photos], on_commit=True)


def found_newsletter() -> None:
    """Subscribers and a first issue that is ready to be sent."""
    if Issue.objects.exists():
        return
    Subscriber.objects.bulk_create(
        [Subscriber(email=f"reader.{n:03}@lichtwand.example") for n in range(1, SUBSCRIBERS + 1)], ignore_conflicts=True
    )
    Issue.objects.create(
        subject="The wall is open",
        text="Nine pictures hang already, and there is room for yours.\n\nCome by whenever there is light.",
    )


def read_counts() -> list[Counts]:
    """What the queues hold, read while no runner runs. Nothing when the store can not be opened."""
    try:
        with get_store().admin(alone=True) as admin:
            return list(admin.counts().values())
    except StoreError as error:
        logger.warning("The store can not be read: %s", error)
        return []


def runner_pid() -> int | None:
    """The pid of the runner; None while none serves."""
    try:
        return cast(LevelDBStore, get_store()).client.owner_pid()
    except StoreError:
        return None
