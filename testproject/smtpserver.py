"""The demo's SMTP server: takes every mail and keeps it in a file. ``python -m testproject.smtpserver PORT FILE``.

Listens on 127.0.0.1 only, delivers nothing anywhere, and ends on TERM or INT with exit code 0.
"""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller

from testproject.outbox.store import keep, parse


class Keeper:
    """aiosmtpd's handler. A mail is in the file before the sender is told that it was taken."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """Keep one mail."""
        keep(self._path, parse(envelope.content, envelope.rcpt_tos, time.time()))
        return "250 Message accepted for delivery"


def main(port: int, path: Path) -> None:
    """Serve until TERM or INT."""
    stops = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    controller = Controller(Keeper(path), hostname="127.0.0.1", port=port)
    controller.start()
    print(f"takes mail on port {port}", flush=True)
    signal.sigwait(stops)
    controller.stop()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
