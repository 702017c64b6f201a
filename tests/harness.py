"""Real runners for tests: start, watch the log and the handlers' words, send signals, wait for the end.

Nothing here sleeps and hopes: every wait is for an event, with a generous bound that only a broken program reaches.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

#: Seconds that any awaited thing may take on a busy machine.
PATIENCE = 30.0


def until(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """The first true value of ``condition``."""
    end = time.monotonic() + patience
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"waited {patience:g} s for {what}")
        time.sleep(0.005)


class Runner:
    """One ``manage.py runqueues`` process."""

    def __init__(self, site: Site, *arguments: str, env: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "django", "runqueues", *arguments],
            env=site.env | (env or {}),
            cwd=site.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.log: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line.rstrip())

    @property
    def pid(self) -> int:
        return self.process.pid

    def says(self, text: str) -> str:
        """Wait for a line of the log with ``text`` in it."""

        def look() -> str | None:
            found = next((line for line in self.log if text in line), None)
            if found is None and self.process.poll() is not None and not self._reader.is_alive():
                raise AssertionError(f"the runner ended without saying {text!r}:\n" + "\n".join(self.log))
            return found

        try:
            return str(until(look, f"the runner to say {text!r}"))
        except AssertionError as error:
            raise AssertionError(f"{error}\n" + "\n".join(self.log)) from None

    def serving(self) -> Runner:
        """Wait until it serves."""
        self.says(" serves ")
        return self

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, patience: float = PATIENCE) -> int:
        """Wait for the end; the exit code."""
        try:
            code = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the runner did not end in {patience:g} s\n" + "\n".join(self.log)) from None
        self._reader.join(PATIENCE)
        return code

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.send(number)
        return self.end()

    def family(self) -> list[psutil.Process]:
        """The master and everything below it."""
        try:
            master = psutil.Process(self.pid)
            return [master, *master.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def cleanup(self) -> None:
        """End whatever is left of it."""
        family = self.family()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for process in family[1:]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, timeout=PATIENCE)
        self._reader.join(PATIENCE)
        if self.process.stderr is not None:
            self.process.stderr.close()


class Site:
    """The test site: its store, what its handlers said, its runners."""

    def __init__(self, root: Path, store: Path) -> None:
        self.root = Path(__file__).resolve().parents[1]
        self.store = store
        self.out = root / "out.txt"
        self.env = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "GRACEFUL_TEST_STORE": str(store),
            "GRACEFUL_TEST_OUT": str(self.out),
            "PYTHONPATH": str(self.root),
        }
        self._runners: list[Runner] = []

    def runner(self, *arguments: str, env: dict[str, str] | None = None) -> Runner:
        """Start a runner; it is ended with the test."""
        found = Runner(self, *arguments, env=env)
        self._runners.append(found)
        return found

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a management command to its end."""
        return self.python("-m", "django", *arguments)

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a program to its end."""
        command = [sys.executable, *arguments]
        return subprocess.run(
            command, env=self.env, cwd=self.root, capture_output=True, text=True, timeout=PATIENCE, check=False
        )

    def lines(self) -> list[str]:
        """What the handlers have said so far."""
        return self.out.read_text().splitlines() if self.out.exists() else []

    def said(self, line: str, patience: float = PATIENCE) -> None:
        """Wait until a handler has said a line that begins so."""
        try:
            until(lambda: any(found.startswith(line) for found in self.lines()), f"{line!r}", patience)
        except AssertionError as error:
            logs = "\n".join(f"--- runner {r.pid}\n" + "\n".join(r.log) for r in self._runners)
            raise AssertionError(f"{error}; said: {self.lines()[-20:]}\n{logs}") from None

    def cleanup(self) -> None:
        for runner in self._runners:
            runner.cleanup()


def numbers(lines: list[str], word: str) -> Iterator[str]:
    """The second words of the lines that begin with ``word``."""
    for line in lines:
        parts = line.split()
        if parts[0] == word:
            yield parts[1]
