"""A process that pushes for ever, also while the server is away; each push that returned is written down.

``python -m tests.redis.producer NAME QUEUE FILE``
"""

from __future__ import annotations

import os
import sys
import time

import django

django.setup()

from django_graceful.exceptions import StoreUnavailable  # noqa: E402
from django_graceful.queues import get_queue  # noqa: E402


def main(name: str, queue: str, path: str) -> None:
    """Push ``NAME-1``, ``NAME-2``, …"""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    target, n = get_queue(queue), 0
    while True:
        n += 1
        try:
            target.push(f"{name}-{n}")
        except StoreUnavailable:
            time.sleep(0.05)
            continue
        os.write(fd, f"{name}-{n}\n".encode())
        time.sleep(0.002)


if __name__ == "__main__":
    main(*sys.argv[1:])
