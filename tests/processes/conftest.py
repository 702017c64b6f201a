"""What the tests of subprocesses share: who is alive, by a word in the command line that only this test uses."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import psutil
import pytest

from tests.harness import PATIENCE, until


class Census:
    """Finds the processes of one test by its own name in their command lines."""

    def __init__(self) -> None:
        #: Put it in a command, as an argument that changes nothing.
        self.name = f"census-{uuid.uuid4().hex[:12]}"

    def alive(self) -> list[psutil.Process]:
        """Everything that has the name, zombies apart."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if any(self.name in word for word in process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def grows_to(self, number: int) -> list[psutil.Process]:
        """Wait until so many are alive."""
        until(lambda: len(self.alive()) == number, f"{number} processes")
        return self.alive()

    def shrinks_to(self, number: int, patience: float = PATIENCE) -> None:
        """Wait until only so many are alive."""
        until(lambda: len(self.alive()) <= number, f"no more than {number} of {self.alive()}", patience)

    def sleeper(self, script: str = "") -> list[str]:
        """A command that lives for ten minutes, and does ``script`` before."""
        return ["sh", "-c", f"{script}\nsleep 600; : {self.name}"]


@pytest.fixture
def census() -> Iterator[Census]:
    """Processes of this test; none survives it."""
    found = Census()
    yield found
    for process in found.alive():
        with suppress(psutil.NoSuchProcess):
            process.kill()


class Aside:
    """A function that runs in a thread of its own; its result, or what it raised."""

    def __init__(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        self.result: Any = None
        self.error: BaseException | None = None

        def body() -> None:
            try:
                self.result = function(*arguments, **options)
            except BaseException as error:
                self.error = error

        self._thread = threading.Thread(target=body)
        self._thread.start()

    def end(self, patience: float = PATIENCE) -> BaseException | None:
        """Wait for its end; what it raised."""
        self._thread.join(patience)
        assert not self._thread.is_alive(), f"the thread did not end in {patience:g} s"
        return self.error
