"""System checks of schedules. What is wrong with a rule or a zone is said where it is written: E001, or at import."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, register

from django_graceful.conf import read_all
from django_graceful.queues import all_queues
from django_graceful.schedule.plans import misfit
from django_graceful.schedule.registry import declared

#: What to do, by the id of the check.
HINTS = {
    "E030": "Name a queue that the code declares.",
    "E031": "Give the queue a leveldb or redis store.",
    "E032": "Say key= (in the settings KEY) for the items of the schedule.",
}


@register("django_graceful")
def check_schedules(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """E030 to E032: schedules that can not push."""
    conf, _ = read_all()
    queues = all_queues()
    found: list[CheckMessage] = []
    for schedule in (declared() | conf.schedules).values():
        wrong = misfit(schedule, queues, conf)
        if wrong is not None:
            number, what = wrong
            text = f"Schedule {schedule.name!r} pushes to {what}."
            found.append(Error(text, hint=HINTS[number], id=f"django_graceful.{number}"))
    return found
