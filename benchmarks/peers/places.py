"""Where one measurement happens, and the OS processes of a system in it: producers and workers."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import redis

from benchmarks.peers.catalog import System
from benchmarks.peers.checking import Verdict, judge, length, written
from benchmarks.peers.handler import DELAYS, MARKS

_ROOT = Path(__file__).resolve().parents[2]

#: Seconds that a system gets to stop in order before it is killed.
_PATIENCE = 15.0


@dataclass(slots=True)
class Place:
    """An emptied database and an empty directory, for one system."""

    system: System
    url: str
    directory: Path
    #: Seconds that each item takes.
    nap: float = 0.0
    _workers: list[psutil.Popen] = field(default_factory=list)

    @property
    def marks(self) -> Path:
        """What was handled."""
        return self.directory / MARKS

    @property
    def delays(self) -> Path:
        """How long the ``late`` items took to their handler, in nanoseconds."""
        return self.directory / DELAYS

    def verdict(self, number: int) -> Verdict:
        """What became of the items from 0 to ``number``."""
        return judge(written(self.marks), number)

    def empty(self) -> None:
        """Forget what has been pushed."""
        with redis.Redis.from_url(self.url) as client:
            client.flushdb()

    def produce(self, how: str, number: int) -> float:
        """Push from a process of its own; items a second."""
        command = [self.system.python, "-m", "benchmarks.peers.produce", self.system.source, how, str(number)]
        done = subprocess.run(
            command, cwd=_ROOT, env=self._environment(), stdout=subprocess.PIPE, text=True, check=True
        )
        return float(done.stdout.split()[-1])

    def start(self) -> None:
        """Start two worker processes, as the system does it."""
        with (self.directory / "workers.log").open("a") as log:
            for arguments in self.system.commands:
                command = [self.system.python, *(argument.format(url=self.url) for argument in arguments)]
                self._workers.append(
                    psutil.Popen(
                        command, cwd=_ROOT, env=self._environment(), stdout=log, stderr=log, start_new_session=True
                    )
                )

    def stop(self) -> None:
        """Stop them in order, and kill what is left after a while."""
        family = self._family()
        for worker in self._workers:
            with suppress(psutil.NoSuchProcess):
                worker.terminate()
        psutil.wait_procs(self._workers, timeout=_PATIENCE)
        self._end(family)

    def kill(self) -> None:
        """SIGKILL for all of them and what they have started, at once."""
        self._end(self._family())

    def reach(self, path: Path, number: int, stall: float) -> float:
        """Wait until the file holds so many values; the moment (monotonic seconds).

        TimeoutError after ``stall`` seconds without a new one.
        """
        seen, since = -1, time.monotonic()
        while (found := length(path)) < number:
            if found > seen:
                seen, since = found, time.monotonic()
            elif time.monotonic() - since > stall:
                raise TimeoutError(f"{self.system.name} stands at {found} of {number} for {stall} s")
            time.sleep(0.002)
        return time.monotonic()

    def _end(self, family: list[psutil.Process]) -> None:
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, timeout=_PATIENCE)
        self._workers.clear()

    def _family(self) -> list[psutil.Process]:
        found: list[psutil.Process] = []
        for worker in self._workers:
            with suppress(psutil.NoSuchProcess):
                found += [worker, *worker.children(recursive=True)]
        return found

    def _environment(self) -> dict[str, str]:
        mine = {"PEERS_URL": self.url, "PEERS_PLACE": str(self.directory), "PEERS_NAP": str(self.nap)}
        return {**os.environ, **mine, "DJANGO_SETTINGS_MODULE": "benchmarks.peers.settings"}


@contextmanager
def fresh_place(system: System, url: str, nap: float = 0.0) -> Iterator[Place]:
    """A place whose database has been emptied; its processes do not outlive it."""
    with tempfile.TemporaryDirectory(prefix="graceful-peers-") as name:
        place = Place(system, url, Path(name), nap)
        place.empty()
        try:
            yield place
        finally:
            place.kill()


def versions(system: System) -> dict[str, str]:
    """The versions of its packages, and RuntimeError if it can not be imported."""
    code = "import importlib.metadata as m, sys; print(*[m.version(name) for name in sys.argv[1:]])"
    command = [system.python, "-c", code, *system.packages]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise RuntimeError(
            f"{system.name} is not installed for {system.python}; `make bench-peers` does that"
        ) from error
    return dict(zip(system.packages, done.stdout.split(), strict=True))
