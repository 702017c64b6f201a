"""The keeper of the sidecar: a small program that starts ``runqueues``, starts it again when it ends, and stops it.

``python -I keeper.py ARBITER WORDS COMMAND …``: the arbiter's pid, a descriptor on which its workers tell what they
know (one JSON object a line), and what to run. A process of its own, because gunicorn's arbiter must have no thread and
reaps every child; it imports nothing but the standard library, so it is there in no time and needs little memory.

- It waits for the first word. When the site does not want a sidecar (``GRACEFUL["SIDECAR"]``), it ends.
- A runner that ends by itself is started again, after a pause that grows from 1 to 30 s while it does not last.
- TERM stops the runner, another one hastens it; when it has ended, so does the keeper. A runner that exceeds its own
  limit by two seconds is killed. HUP makes the runner start again in place, with new code.
- The keeper gets TERM when the arbiter ends, however it ends, and so does the runner when the keeper does.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

_PR_SET_PDEATHSIG = 1
#: Seconds: the first and the longest pause before the runner is started again; it has lasted when it ran so long.
_SHORTEST, _LONGEST, _LASTS = 1.0, 30.0, 30.0
#: Seconds beyond the runner's own limit, after which it is killed.
_MARGIN = 2.0
#: What is said to the arbiter's service manager, or of its sockets, is none of the runner's business.
_NOT_OURS = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "GUNICORN_PID")
_HEEDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


def pause(failures: int) -> float:
    """Seconds before the next start, after so many runs in a row that did not last."""
    return min(_LONGEST, _SHORTEST * 2.0 ** min(failures, 10))


def environment(ours: Mapping[str, str], word: Mapping[str, Any]) -> dict[str, str]:
    """The runner's, from the arbiter's and from what a worker knows: the settings, and where code is found."""
    kept = {name: value for name, value in ours.items() if name not in _NOT_OURS}
    paths = [*word["paths"], *filter(None, [ours.get("PYTHONPATH")])]
    return {**kept, "DJANGO_SETTINGS_MODULE": word["settings"], "PYTHONPATH": os.pathsep.join(paths)}


class Keeper:
    """Its state; all of it is used in the main thread."""

    def __init__(self, words: int, command: Sequence[str]) -> None:
        self._words, self._command = words, command
        self._heard = b""
        self._word: dict[str, Any] = {}
        self._runner: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._failures = 0
        self._start_at = math.inf
        self._kill_at = math.inf
        self._stopping = False
        self._bell, self._wake = os.pipe()
        for end in (words, self._bell, self._wake):
            os.set_blocking(end, False)

    def run(self) -> None:
        """Until there is nothing more to keep."""
        for number in _HEEDED:
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(self._wake)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEEDED)  # they were blocked since before it began
        poll = select.poll()
        poll.register(self._bell, select.POLLIN)
        poll.register(self._words, select.POLLIN)
        while not (self._stopping and self._runner is None):
            due = min(self._start_at, self._kill_at)
            poll.poll(None if due == math.inf else max(0.0, due - time.monotonic()) * 1000 + 1)
            self._turn(poll)

    def _turn(self, poll: select.poll) -> None:
        for number in self._read(self._bell):
            self._heed(number)
        if self._words >= 0:
            self._listen(poll)
        self._look_at_runner()
        if time.monotonic() >= self._kill_at and self._runner is not None:
            say("runqueues exceeds its limit and is killed")
            self._kill_at = math.inf
            self._runner.kill()
        if time.monotonic() >= self._start_at and not self._stopping:
            self._start()

    @staticmethod
    def _read(descriptor: int) -> bytes:
        with suppress(BlockingIOError):
            return os.read(descriptor, 1 << 16)
        return b""

    def _heed(self, number: int) -> None:
        if number == signal.SIGHUP:
            if self._runner is not None:
                self._runner.send_signal(signal.SIGHUP)
            elif self._word:
                self._failures, self._start_at = 0, 0.0
        elif number in (signal.SIGTERM, signal.SIGINT):
            self._stop()

    def _stop(self) -> None:
        self._stopping = True
        if self._runner is not None:
            self._runner.send_signal(signal.SIGTERM)
            self._kill_at = min(self._kill_at, time.monotonic() + self._word["limit"] + _MARGIN)

    def _listen(self, poll: select.poll) -> None:
        said = self._read(self._words)
        *lines, self._heard = (self._heard + said).split(b"\n")
        for line in lines:
            self._word = json.loads(line)
            if not self._word["wanted"]:
                self._stop()
            elif self._runner is None and self._start_at == math.inf:
                self._start_at = 0.0
        if not said and select.select([self._words], [], [], 0)[0]:  # nobody is left who could say anything
            poll.unregister(self._words)
            self._words = -1

    def _start(self) -> None:
        self._start_at, self._started = math.inf, time.monotonic()
        parent, mask = os.getpid(), signal.pthread_sigmask(signal.SIG_BLOCK, _HEEDED)
        try:
            self._runner = subprocess.Popen(
                self._command,
                env=environment(os.environ, self._word),
                stdin=subprocess.DEVNULL,
                # Safe, for this process has one thread.
                preexec_fn=lambda: _become_child(parent, mask),  # noqa: PLW1509
            )
        except OSError as error:
            say(f"runqueues can not be started: {error}")
            self._again()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _look_at_runner(self) -> None:
        if self._runner is None or self._runner.poll() is None:
            return
        code, self._runner, self._kill_at = self._runner.returncode, None, math.inf
        if self._stopping:
            return
        if time.monotonic() - self._started >= _LASTS:
            self._failures = 0
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        say(f"runqueues has ended {how}; it is started again in {pause(self._failures):g} s")
        self._again()

    def _again(self) -> None:
        self._start_at = time.monotonic() + pause(self._failures)
        self._failures += 1


def _become_child(parent: int, mask: Iterable[int]) -> None:
    """Between fork and exec. Signals were blocked, since the keeper's handlers would swallow them here."""
    signal.set_wakeup_fd(-1)
    for number in _HEEDED:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    end_with(parent)


def end_with(parent: int) -> None:
    """TERM to this process when its parent ends; at once, when it has."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


def say(text: str) -> None:
    """To the arbiter's log on standard error; nobody may be there to read it."""
    with suppress(OSError):
        os.write(2, f"sidecar: {text}\n".encode())


def main(arguments: Sequence[str]) -> None:
    """Keep the command alive until told otherwise."""
    keeper = Keeper(int(arguments[1]), arguments[2:])
    end_with(int(arguments[0]))
    keeper.run()


if __name__ == "__main__":
    main(sys.argv[1:])
