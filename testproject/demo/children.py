"""One program that the demo runs: in a session of its own, its output readable line by line, ending with the demo.

A session of its own, so that Ctrl-C in the terminal reaches the demo only, which orders the shutdown.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

_READ = 1 << 16


@dataclass(slots=True, frozen=True)
class Program:
    """What to run. ``hasten`` makes it stop faster; not TERM again, because two of those may arrive as one."""

    name: str
    argv: Sequence[str]
    colour: int
    hasten: signal.Signals = signal.SIGINT


class Child:
    """A program that runs. To be made in the main thread: the program ends with the thread that has started it."""

    def __init__(self, program: Program, env: Mapping[str, str]) -> None:
        self.program = program
        #: Whether it has been told to stop: an end is expected then.
        self.told = False
        #: Its exit code (negative: the signal that ended it); None while it runs.
        self.code: int | None = None
        #: Whether nothing more comes from it.
        self.silent = False
        self._line = b""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "testproject.demo.tied", str(os.getpid()), *program.argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=env,
        )
        assert self._process.stdout is not None
        self.output = self._process.stdout.fileno()
        os.set_blocking(self.output, False)
        #: Readable when the program has ended.
        self.pidfd = os.pidfd_open(self._process.pid)

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        """Tell it to stop."""
        self.told = True
        self._send(signal.SIGTERM)

    def hasten(self) -> None:
        """Tell it to stop faster; it has been told to stop before."""
        self._send(self.program.hasten)

    def kill(self) -> None:
        """End it at once."""
        self.told = True
        self._send(signal.SIGKILL)

    def reap(self) -> int:
        """Wait for its end; its exit code. What it left in its process group is killed, while the number is its own."""
        os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOWAIT)
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.code = self._process.wait()
        return self.code

    def lines(self) -> list[str]:
        """The whole lines that it has written since the last call; also the rest when nothing more comes."""
        lines = []
        self.silent = self.code is not None
        with suppress(BlockingIOError):
            while data := os.read(self.output, _READ):
                *whole, self._line = (self._line + data).split(b"\n")
                lines += whole
            self.silent = True
        if self.silent:
            lines.append(self._line)
        return [line.decode(errors="replace").rstrip() for line in lines if line.strip()]

    def close(self) -> None:
        """Let go of its output and of the handle on it; it has been reaped."""
        os.close(self.pidfd)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _send(self, number: signal.Signals) -> None:
        if self.code is None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, number)
