"""``runqueues --reload``: start the runner anew when code changes, with Django's own file watching. For development.

The parent only restarts a child and hands signals on; it opens no store. The child watches the files in a thread and
drains when one changed, so a reload loses nothing and the store is free for the next child.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

from django.utils import autoreload

#: The exit code with which a child asks to be started again (Django's convention).
RELOAD = 3
#: The exit code of Python when the code can not be imported.
FAULTY = 1
_HANDED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR2)

logger = logging.getLogger("django_graceful.runner")


def is_child() -> bool:
    """Whether this process is the watched one."""
    return os.environ.get(autoreload.DJANGO_AUTORELOAD_ENV) == "true"


def supervise() -> int:
    """Run children until one ends for another reason than a change; its exit code. Signals are handed on."""
    environ = {**os.environ, autoreload.DJANGO_AUTORELOAD_ENV: "true"}
    arguments = [sys.executable, *sys.orig_argv[1:]]
    child: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def hand_on(signum: int, frame: object) -> None:
        if child is None:
            early.append(signum)
        else:
            child.send_signal(signum)

    while True:
        for number in _HANDED_ON:
            signal.signal(number, hand_on)
        began = time.time()
        # A session of its own: Ctrl-C reaches the child once, through us.
        child = subprocess.Popen(arguments, env=environ, start_new_session=True)
        for signum in early:
            child.send_signal(signum)
        code = child.wait()
        if code == FAULTY:
            logger.error("the runner could not start, as said above; waiting for a change of the code")
            _wait_for_change(began)
        elif code != RELOAD:
            return code
        child = None


def _wait_for_change(since: float) -> None:
    """Until a file of the code is younger than ``since`` (seconds since the epoch). A signal ends the process."""
    for number in _HANDED_ON:
        signal.signal(number, lambda signum, frame: sys.exit(0))
    watcher = autoreload.StatReloader()
    while not any(changed > since for _, changed in watcher.snapshot_files()):
        time.sleep(watcher.SLEEP_TIME)


def watch() -> threading.Event:
    """Watch the code in a thread. When a file changes the event is set, and this process gets SIGTERM: it drains."""
    changed = threading.Event()

    def body() -> None:
        reloader = autoreload.get_reloader()
        with suppress(SystemExit):  # how Django says that a file changed
            autoreload.start_django(reloader, lambda: threading.Event().wait())
            return
        changed.set()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=body, name="autoreload", daemon=True).start()
    return changed
