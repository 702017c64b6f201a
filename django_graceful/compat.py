"""Django's Tasks framework, wherever it is: ``django.tasks`` of Django 6, or the package ``django-tasks`` on 5.2.

The only module that imports either. Importing it raises ``ImportError``, naming what to install, when there is none. On
Django 6 the package is never used, also when it is installed: both read the same ``TASKS``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import django

__all__ = [
    "BaseTaskBackend",
    "InvalidTask",
    "Task",
    "TaskContext",
    "TaskError",
    "TaskResult",
    "TaskResultDoesNotExist",
    "TaskResultStatus",
    "normalize_json",
    "task_backends",
    "task_enqueued",
    "task_finished",
    "task_started",
]

if TYPE_CHECKING or django.VERSION >= (6, 0):
    from django.tasks import Task, TaskContext, TaskResult, TaskResultStatus, task_backends
    from django.tasks.backends.base import BaseTaskBackend
    from django.tasks.base import TaskError
    from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist
    from django.tasks.signals import task_enqueued, task_finished, task_started
    from django.utils.json import normalize_json
else:
    try:
        from django_tasks import checks, exceptions, task_backends  # noqa: F401 (registers its checks)
        from django_tasks.backends.base import BaseTaskBackend
        from django_tasks.base import Task, TaskContext, TaskError, TaskResult, TaskResultStatus
        from django_tasks.exceptions import TaskResultDoesNotExist
        from django_tasks.signals import task_enqueued, task_finished, task_started
        from django_tasks.utils import normalize_json
    except ImportError as error:
        raise ImportError(
            f"Django {django.get_version()} has no Tasks framework, and the package django-tasks can not be imported"
            f" ({error}): pip install 'django-graceful-queues[backport]', or use Django 6"
        ) from error
    # Called InvalidTaskError up to 0.12.
    InvalidTask = getattr(exceptions, "InvalidTask", None) or exceptions.InvalidTaskError
