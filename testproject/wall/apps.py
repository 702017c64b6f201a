from __future__ import annotations

from django.apps import AppConfig


class WallConfig(AppConfig):
    name = "testproject.wall"
    verbose_name = "Photo wall"

    def ready(self) -> None:
        from testproject.wall import receivers  # noqa: F401
