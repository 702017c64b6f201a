"""Which systems are compared, how their workers are started, and what was set. Data only."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

_MODULES = "benchmarks.peers.systems"


@dataclass(slots=True, frozen=True)
class System:
    """One system of the comparison, with two worker processes."""

    name: str
    #: The module of :mod:`benchmarks.peers.systems` that pushes.
    module: str
    #: What is given to the interpreter, once for each process that is started; ``{url}`` is the server's.
    commands: tuple[tuple[str, ...], ...]
    #: Whose versions are told.
    packages: tuple[str, ...]
    #: What differs from the defaults, and what brings back the items of a killed worker.
    settings: str
    #: How many items a measurement has, as a part of ``--number``: a slow system has fewer, a quick one more.
    share: float = 1.0
    #: Whether it has a call that pushes many.
    bulk: bool = False
    #: Its virtual environment, below that of the harness.
    home: str = ""

    @property
    def python(self) -> str:
        """The interpreter that has it."""
        return str(Path(sys.prefix) / self.home / "bin/python") if self.home else sys.executable

    @property
    def source(self) -> str:
        """The dotted name of its module."""
        return f"{_MODULES}.{self.module}"


def _celery(*options: str) -> tuple[str, ...]:
    quiet = ("--loglevel", "ERROR", "--without-gossip", "--without-mingle", "--without-heartbeat")
    return ("-m", "celery", "-A", f"{_MODULES}.celery", "worker", *options, *quiet)


def _rq(*options: str) -> tuple[str, ...]:
    return ("-m", "rq.cli", "worker-pool", "-n", "2", "-q", "-u", "{url}", *options)


_ARQ = ("-m", "arq", f"{_MODULES}.arq.WorkerSettings")
_HUEY = ("-m", "huey.bin.huey_consumer", f"{_MODULES}.huey.huey", "-k", "process", "-w", "2", "-n", "-q")

SYSTEMS = {
    system.name: system
    for system in (
        System(
            "django_graceful",
            "graceful",
            (("-m", "django", "runqueues"),),
            ("django", "redis"),
            "defaults; max_workers=2; another runner on the host brings items back at its start, others after 12.5 s",
            share=5,
            bulk=True,
        ),
        System(
            "raw-redis",
            "raw",
            (("-m", f"{_MODULES}.raw"),) * 2,
            ("redis", "hiredis"),
            "LPUSH; BRPOPLPUSH, run, LREM; bulk: LPUSH of 100; nothing brings items back",
            share=2,
            bulk=True,
        ),
        System(
            "dramatiq",
            "dramatiq",
            (("-m", "dramatiq", f"{_MODULES}.dramatiq", "-p", "2", "-t", "8"),),
            ("dramatiq", "redis"),
            "2 processes with 8 threads (defaults); items of a worker without heartbeat for 60 s come back, looked "
            "for at random",
        ),
        System(
            "huey",
            "huey",
            (_HUEY,),
            ("huey", "redis"),
            "2 processes, results=False, no periodic tasks; takes an item off before it runs, nothing brings it back",
        ),
        System(
            "celery",
            "celery",
            (_celery("-c", "2"),),
            ("celery", "kombu", "redis"),
            "prefork, 2 processes, acks_late, reject_on_worker_lost, ignore_result, no gossip, mingle, heartbeat; "
            "items come back after visibility_timeout, 3600 s (default)",
            share=0.5,
        ),
        System(
            "arq",
            "arq",
            (_ARQ,) * 2,
            ("arq", "redis"),
            "2 processes, max_jobs 100 (default 10), poll_delay 0.05 s (default 0.5), keep_result=0; items come back "
            "when their in-progress key expires, after 310 s (default)",
            share=0.4,
            home="arq",
        ),
        System(
            "rq",
            "rq",
            (_rq(),),
            ("rq", "redis"),
            "worker-pool of 2 default workers (a fork for each job), result_ttl=0; a job that had started goes to the "
            "failed registry",
            share=0.06,
            bulk=True,
        ),
        System(
            "rq-simple",
            "rq",
            (_rq("-w", "rq.worker.SimpleWorker"),),
            ("rq", "redis"),
            "as rq, with its SimpleWorker, which does not fork",
            share=0.15,
            bulk=True,
        ),
    )
}
