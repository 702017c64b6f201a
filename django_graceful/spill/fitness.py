"""Whether this OS process may keep items in its memory: only one that will be asked before it ends.

Where it may not, a push goes straight to the other store. That is so

- in the workers of a runner, which are killed whenever a job has to be, and in their forks;
- in the children of ``multiprocessing``, which end without ``atexit``;
- in gunicorn's arbiter, before a worker has booted, and in workers without our hooks (:mod:`django_graceful.gunicorn`);
- while the site is being loaded;
- from the moment on in which the process is asked to stop.
"""

from __future__ import annotations

import multiprocessing
import sys

from django.apps import apps

from django_graceful.lifecycle import Phase, node

_refused = False


def refuse() -> None:
    """This process keeps nothing in memory from now on, and neither does what it forks. What it keeps is not touched:
    see :func:`~django_graceful.spill.drain`.
    """
    global _refused
    _refused = True


def fit() -> bool:
    """Whether this process may begin to keep items in memory."""
    if _refused or not apps.ready or node.phase is not Phase.RUNNING:
        return False
    return multiprocessing.parent_process() is None and _has_booted()


def _has_booted() -> bool:
    if "gunicorn.app.base" not in sys.modules:
        return True
    guard = sys.modules.get("django_graceful.gunicorn.guard")
    return guard is not None and guard.current() is not None
