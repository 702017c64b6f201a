"""A worker for tests, in this process: it leases, runs as a worker does, and writes down how it ended."""

from __future__ import annotations

from contextvars import copy_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from django_graceful.processes import entered
from django_graceful.runner.executing import Execution
from django_graceful.runner.jobs import JobProcess
from django_graceful.runner.slate import Why
from django_graceful.runner.wire import Unit
from django_graceful.stores import get_store
from django_graceful.stores.base import StoreOwner

WORKER = "worker-1"


class Bench:
    """Runs what is ready in one store. ``asked`` is why each run has been told to stop."""

    def __init__(self, alias: str = "default") -> None:
        self.alias = alias
        self.asked: Why | None = None

    def own(self) -> StoreOwner:
        owner = get_store(self.alias).own()
        while owner.prepare():
            pass
        return owner

    def run(self, most: int = 100) -> int:
        """Run up to so many tasks, in their order; how many there were."""
        owner, ran = self.own(), 0
        try:
            while ran < most and (unit := self._next(owner)) is not None:
                self._run(owner, unit)
                ran += 1
                while owner.prepare():
                    pass
        finally:
            owner.close()
        return ran

    def _next(self, owner: StoreOwner) -> Unit | None:
        for name in sorted(owner.ready()):
            leases = owner.lease(name, 1, WORKER)
            if leases:
                return Unit(0, name, False, leases)
        return None

    def _run(self, owner: StoreOwner, unit: Unit) -> None:
        execution = Execution(unit)
        if execution.jobs:
            slate: Any = SimpleNamespace(path=Path(WORKER), words=[0] * 64)
            process = JobProcess(execution.jobs, SimpleNamespace(asked=self.asked), slate)
            problem: BaseException | None = None
            try:
                copy_context().run(entered, process, execution.queue.handler, execution.jobs[0].payload)
            except BaseException as error:
                problem = error
            execution.conclude([problem], self.asked, 0)
        report = execution.report
        assert owner.finish(report.done, report.endings) == set()
