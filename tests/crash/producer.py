"""A process that pushes for ever: after each push that returned it writes the number down. ``python -m
tests.crash.producer NAME QUEUE FILE``.
"""

from __future__ import annotations

import os
import sys
import time

import django

django.setup()

from django_graceful.exceptions import QueueFull  # noqa: E402
from django_graceful.queues import get_queue  # noqa: E402


def main(name: str, queue: str, path: str) -> None:
    """Push ``NAME-1``, ``NAME-2``, … singly and in small batches."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    target, n = get_queue(queue), 0
    while True:
        size = 1 if n % 7 else 5
        numbers = [f"{name}-{n + i}" for i in range(size)]
        n += size
        try:
            target.push_many(numbers)
        except QueueFull:
            continue
        os.write(fd, "".join(f"{number}\n" for number in numbers).encode())
        time.sleep(0.002)


if __name__ == "__main__":
    main(*sys.argv[1:])
