"""Starts ``manage.py toil`` as a shell would, watches what it says, and counts what it leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import psutil
import pytest

from tests.harness import PATIENCE, Site, until
from tests.processes.conftest import Census, census  # noqa: F401

#: Long enough to be no accident, and short enough to wait for.
QUICK = {"HAMMER_AFTER": 0.5, "KILL_AFTER": 0.5, "CANCEL_GRACE": 0.5}


#: Every warning is an error, but that of Django 6.1 about the settings of these tests, which are for all versions.
STRICT = ("-W", "error", "-W", "ignore:The EMAIL_BACKEND setting is deprecated")


class Toil:
    """One ``manage.py toil``; ``pid`` is the one that the shell would know."""

    def __init__(self, site: Site, *arguments: str, python: tuple[str, ...] = (), **options: Any) -> None:
        extra = options.pop("extra", {})
        env = {**site.env, "GRACEFUL_TEST_EXTRA": json.dumps(extra), **options.pop("env", {})}
        self.site = site
        self.process = subprocess.Popen(
            [sys.executable, *STRICT, *python, "-m", "django", *arguments],
            env=env,
            cwd=site.root,
            **{
                "stdin": subprocess.DEVNULL,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
                "text": True,
                "start_new_session": True,
                **options,
            },
        )
        self.pid = self.process.pid
        self.out: list[str] = []
        self.err: list[str] = []
        self._readers = [
            threading.Thread(target=lines.extend, args=(stream,), daemon=True)
            for stream, lines in ((self.process.stdout, self.out), (self.process.stderr, self.err))
            if stream is not None
        ]
        for reader in self._readers:
            reader.start()

    def says(self, *lines: str) -> Toil:
        """Wait until the command has said these, in any order."""
        for line in lines:
            until(lambda line=line: self._said(line) or self.process.poll() is not None, f"{line!r}")  # type: ignore[misc]
            assert self._said(line), f"it ended without saying {line!r}: {self.err}"
        return self

    def _said(self, line: str) -> bool:
        return any(found.startswith(line) for found in self.site.lines())

    @property
    def child(self) -> int:
        """The pid of the command itself."""
        return int(next(line for line in self.site.lines() if line.startswith("begin")).split()[1])

    def send(self, *numbers: signal.Signals) -> Toil:
        for number in numbers:
            os.kill(self.pid, number)
        return self

    def end(self, patience: float = PATIENCE) -> int:
        """Wait for the end; the exit code."""
        try:
            code = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end in {patience:g} s: {self.err} {self.site.lines()}") from None
        for reader in self._readers:
            reader.join(PATIENCE)
        return code

    @property
    def last(self) -> str:
        """The last line on standard error, without the name before it."""
        name, _, words = self.err[-1].rstrip().partition(": ")
        assert name == "toil", self.err
        return words

    def cleanup(self) -> None:
        with suppress(psutil.NoSuchProcess):
            family = [psutil.Process(self.pid), *psutil.Process(self.pid).children(recursive=True)]
            for process in family:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        self.process.kill()
        self.process.wait(PATIENCE)
        for stream in (self.process.stdout, self.process.stderr, self.process.stdin):
            if stream is not None:
                stream.close()


Toiling = Callable[..., Toil]


@pytest.fixture
def registry() -> None:
    """Here the test site's own queues are declared."""


@pytest.fixture
def toil(site: Site, census: Census) -> Iterator[Toiling]:  # noqa: F811
    """Starts the command; nothing of it survives the test."""
    started: list[Toil] = []

    def start(way: str, *arguments: str, **options: Any) -> Toil:
        found = Toil(site, "toil", way, census.name, *arguments, **options)
        started.append(found)
        return found

    yield start
    for found in started:
        found.cleanup()
    left = [pid for pid in map(int, _words(site, "fork", "forked")) if psutil.pid_exists(pid)]
    assert (left, census.alive()) == ([], [])


def _words(site: Site, *first: str) -> list[str]:
    """The second words of the lines that begin with one of these."""
    return [line.split()[1] for line in site.lines() if line.split()[0] in first]


def stopped(pid: int) -> None:
    """Wait until that process is stopped."""
    until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, f"pid {pid} to be stopped")
