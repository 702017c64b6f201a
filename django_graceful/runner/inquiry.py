"""SIGUSR1: the stacks of the fork server and of every worker go to the log, each under a line that says what it is.

Runs in the master's loop, which goes on meanwhile. The master's own stacks are told by
:mod:`~django_graceful.runner.listener`, whose thread answers even if the loop does not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

from django_graceful.runner.estate import Estate
from django_graceful.runner.handle import Handle
from django_graceful.runner.nursery import Nursery

logger = logging.getLogger("django_graceful.runner")


async def log_stacks(nursery: Nursery, estate: Estate) -> None:
    """Ask all of them at once; what does not answer within a second is named too."""
    running = estate.running()
    asked = [_tell(f"fork server {nursery.pid}", nursery.stacks())] if nursery.alive else []
    for worker in estate.workers:
        runs = [
            f"{run['queue']} {run['item']} (execution {run['execution']}) for {run['seconds']:.1f} s"
            for run in running
            if run["pid"] == worker.pid
        ]
        asked.append(_tell(_title(worker, f"runs {', '.join(runs) or 'nothing'}"), worker.stacks()))
    await asyncio.gather(*asked)


def _title(worker: Handle, what: str) -> str:
    return f"worker {worker.pid} ({worker.stage.value}), which {what}"


async def _tell(title: str, answer: Awaitable[str]) -> None:
    try:
        text = await answer
    except OSError as error:
        text = f"(it has just ended: {error})"
    logger.warning("stacks of %s:\n%s", title, text or "(no answer: it is stopped, or in a call that nothing ends)")
