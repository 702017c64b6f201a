"""Producers and a runner, and somebody who kills them at random moments."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import psutil

from tests.harness import Runner, Site, until


class Chaos:
    """``command`` gives the module and arguments of producer number n in its life number m; ``progress`` counts what
    was handled.
    """

    #: Workers that the queue under test may have.
    workers = 2

    def __init__(
        self,
        site: Site,
        seed: int,
        producers: int,
        command: Callable[[int, int], list[str]],
        progress: Callable[[], int],
    ) -> None:
        self.site = site
        self.random = random.Random(seed)
        self.kills: Counter[str] = Counter()
        #: Items that may have been running at the kills so far.
        self.exposed = 0
        self._command = command
        self._progress = progress
        self._lives = 0
        self.producers = [self._produce(n) for n in range(producers)]
        self.runner = self._start()

    def _produce(self, n: int) -> subprocess.Popen[bytes]:
        self._lives += 1
        command = [sys.executable, "-m", *self._command(n, self._lives)]
        return subprocess.Popen(command, env=self.site.env, cwd=self.site.root)

    def _start(self) -> Runner:
        return self.site.runner(env={"GRACEFUL_TEST_EXTRA": '{"MAX_CRASHES": 1000}'}).serving()

    def round(self, most: int = 60) -> None:
        """Let something happen, then kill somebody."""
        goal = self._progress() + self.random.randrange(1, most)
        until(lambda: self._progress() >= goal, "progress")
        victim = self.random.choice(["master", "worker", "worker", "producer", "fork server", "everything"])
        getattr(self, "_kill_" + victim.replace(" ", "_"))()
        self.kills[victim] += 1

    def rage(self, rounds: int, most: int = 60) -> None:
        """So many rounds, and the end."""
        try:
            for _ in range(rounds):
                self.round(most)
            self.finish()
        finally:
            self.stop_producers()

    def finish(self) -> None:
        """Stop the pushing and let everything be handled."""
        self.stop_producers()
        code = self.runner.stop()
        assert code == 0, "\n".join(self.runner.log[-40:])
        assert self.site.runner("--drain").end(120) == 0

    def stop_producers(self) -> None:
        for producer in self.producers:
            producer.kill()
            producer.wait()

    def _kill_master(self) -> None:
        self.exposed += self.workers
        self.runner.process.kill()
        self.runner.process.wait()
        self.runner = self._start()

    def _kill_worker(self) -> None:
        workers = [process for process in self.runner.family()[1:] if process.ppid() != self.runner.pid]
        if workers:
            self.exposed += 1
            _kill(self.random.choice(workers))

    def _kill_fork_server(self) -> None:
        self.exposed += self.workers
        before = _starts(self.runner)
        _kill(psutil.Process(self.runner.pid).children()[0])
        until(lambda: self.runner.process.poll() is not None or _starts(self.runner) > before, "a new start")
        if self.runner.process.poll() is not None:
            self.runner = self._start()

    def _kill_producer(self) -> None:
        n = self.random.randrange(len(self.producers))
        self.producers[n].kill()
        self.producers[n].wait()
        self.producers[n] = self._produce(n)

    def _kill_everything(self) -> None:
        self.exposed += self.workers
        for process in self.runner.family():
            _kill(process)
        self.stop_producers()
        self.runner.process.wait()
        self.producers = [self._produce(n) for n in range(len(self.producers))]
        self.runner = self._start()


def _kill(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.kill()


def _starts(runner: Runner) -> int:
    """How often it has begun to serve."""
    return sum(" serves " in line for line in runner.log)
