"""Log lines on the console of a command, also with ``DEBUG=False`` and Django's default ``LOGGING``, which would show
nothing.

A site that configures ``django_graceful`` (or the root logger) in its own ``LOGGING`` is left alone.
"""

from __future__ import annotations

import logging
import sys

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
