"""Many signals at the same moment kill nobody who answers for his stacks."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.process

SCRIPT = """
import os, signal, sys
from django_graceful import stacks

heard = []
stops = {signal.SIGCONT, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}  # one takes the other's place
numbers = sorted(signal.valid_signals() - stops - {signal.SIGKILL, signal.SIGSTOP, stacks.SIGNAL})
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
stacks.register(2)
for number in numbers:
    signal.signal(number, lambda number, frame: heard.append(number))
    os.kill(os.getpid(), number)
signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
print(sorted(heard) == numbers)
"""


def test_sixty_signals_at_once_are_all_heard() -> None:
    env = {**os.environ, "PYTHONFAULTHANDLER": ""}
    found = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "True\n"), found.stderr
