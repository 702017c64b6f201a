"""Graceful background work for Django: persistent queues, a bounded shutdown, and a cancel that always works.

What a site imports: :func:`queue` to declare work, :func:`every` and :func:`cron` to let it begin by itself,
:func:`process`, :func:`current_process`, :func:`run` and
:func:`arun` inside it, and the three exceptions with which a
handler says what should become of its item.
"""

from __future__ import annotations

from django_graceful.batches import BatchFailure
from django_graceful.exceptions import (
    Cancelled,
    CancelProcess,
    Discard,
    ProcessFailed,
    ProcessTimedOut,
    QueueFull,
    Retry,
)
from django_graceful.processes import Process, current_process, process
from django_graceful.queues import Queue, all_queues, get_queue, queue
from django_graceful.schedule.registry import cron, every
from django_graceful.subprocesses import arun, run

__all__ = [
    "BatchFailure",
    "CancelProcess",
    "Cancelled",
    "Discard",
    "Process",
    "ProcessFailed",
    "ProcessTimedOut",
    "Queue",
    "QueueFull",
    "Retry",
    "all_queues",
    "arun",
    "cron",
    "current_process",
    "every",
    "get_queue",
    "process",
    "queue",
    "run",
]

__version__ = "0.1.0"
