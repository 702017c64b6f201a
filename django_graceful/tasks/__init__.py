"""The backend for Django's Tasks framework: tasks are items of our queues, run by ``manage.py runqueues``.

::

    TASKS = {"default": {"BACKEND": "django_graceful.tasks.GracefulBackend", "QUEUES": [], "OPTIONS": {}}}

Each queue name of the framework is a queue of ours (:mod:`.naming`), with one handler (:mod:`.running`). Where a task
stands is read from the item while there is one, and from what it left when it is done (:mod:`.results`). Importing this
package, and any module with tasks, opens nothing.
"""

from __future__ import annotations

from django_graceful.tasks.backend import GracefulBackend
from django_graceful.tasks.definition import GracefulTask

__all__ = ["GracefulBackend", "GracefulTask"]
