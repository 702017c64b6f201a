"""What the tests of nodes share: OS processes that take part."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import PATIENCE
from tests.processes.conftest import census

__all__ = ["Child", "census", "child", "descriptors", "in_a_fork", "threads"]


class Child:
    """``tests.nodes.child`` in an OS process of its own."""

    def __init__(self, store: Path, *argv: str) -> None:
        root = Path(__file__).resolve().parents[2]
        env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "GRACEFUL_TEST_STORE": str(store)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.nodes.child", *argv],
            env=env,
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        #: The id of its process: it is a node from now on.
        self.id = self.says()

    @property
    def node(self) -> str:
        return self.id.split(".")[0]

    def says(self) -> str:
        """Its next line."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> None:
        """Kill it, if it lives, and reap it."""
        self.process.kill()
        self.process.wait(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def child(store_path: Path) -> Iterator[Callable[..., Child]]:
    """Starts nodes of the test's store; they end with the test."""
    children: list[Child] = []

    def start(*argv: str) -> Child:
        children.append(Child(store_path, *argv))
        return children[-1]

    yield start
    for one in children:
        one.end()


def threads() -> int:
    """How many threads this OS process has, native ones too."""
    return len(os.listdir("/proc/self/task"))


def descriptors() -> int:
    """How many files this OS process has open, those of garbage not counted."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def in_a_fork(check: Callable[[], object]) -> str:
    """What ``check()`` gives in the child of a fork, as text."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.write(writing, str(check()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        said = file.read()
    os.waitpid(pid, 0)
    return said
