"""A process that sends mail for ever, and writes each number down that was accepted.

``python -m tests.crash.mailer NAME FILE``
"""

from __future__ import annotations

import os
import sys
import time

import django

django.setup()

from django.core.mail import send_mail  # noqa: E402


def main(name: str, path: str) -> None:
    """Send mails with the subjects ``NAME-1``, ``NAME-2``, …"""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    n = 0
    while True:
        n += 1
        send_mail(f"{name}-{n}", "Hello.", "from@example.com", ["to@example.com"])
        os.write(fd, f"{name}-{n}\n".encode())
        time.sleep(0.05)


if __name__ == "__main__":
    main(*sys.argv[1:])
