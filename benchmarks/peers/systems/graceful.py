"""django_graceful over its Redis store; the queues are in :mod:`benchmarks.peers.queues`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.peers.settings"

import django

django.setup()

from benchmarks.peers import queues  # noqa: E402


def push_each(numbers: Iterable[int]) -> None:
    for number in numbers:
        queues.mark.push(number)


def push_many(numbers: Sequence[int]) -> None:
    queues.mark.push_many(numbers)


def push_late(moment: int) -> None:
    queues.late.push(moment)
