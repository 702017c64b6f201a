"""Log lines on the console of a command, also with ``DEBUG=False`` and Django's default ``LOGGING``, which would show
nothing.

A site that configures ``django_graceful`` (or the root logger) in its own ``LOGGING`` is left alone.
"""

from __future__ import annotations

import logging
import sys

from django.conf import settings

#: Where Django's Tasks framework says what becomes of a task, in its core and as a package.
_TASKS = ("django.tasks", "django_tasks")
_FORMAT = "%(asctime)s %(levelname)-7s %(message)s"


def show_log(verbosity: int = 1) -> None:
    """Show the log of django_graceful on standard error, unless the site has its own idea. ``verbosity`` as of
    Django's commands.
    """
    logger = logging.getLogger("django_graceful")
    if logger.handlers or logging.getLogger().handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(_FORMAT))
    logger.addHandler(handler)
    logger.setLevel({0: logging.WARNING, 1: logging.INFO}.get(verbosity, logging.DEBUG))
    logger.propagate = False
    for tasks in map(logging.getLogger, _TASKS):
        shown = settings.DEBUG and tasks.name.startswith("django.") and logging.getLogger("django").handlers
        if not tasks.handlers and not shown:
            tasks.addHandler(handler)
            tasks.setLevel(tasks.level or logger.level)
