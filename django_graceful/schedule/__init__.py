"""Schedules: work that begins by itself. ``@every("10m")`` and ``@cron("0 3 * * *")`` above ``@queue``, or settings.

The master of a runner pushes an item at each tick (:mod:`.ticker`); it runs none of the site's code for it. Names for
sites are in :mod:`django_graceful` and :mod:`.registry`; this module imports nothing, because the settings need parts
of the package before there are queues.
"""

from __future__ import annotations
