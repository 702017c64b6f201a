"""What a worker runs: a job is one leased item, decoded; its process knows from the slate when it is to stop."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol

from django_graceful import nodes
from django_graceful.conf import get_conf
from django_graceful.exceptions import RecordError
from django_graceful.items import Header, Item, decode_header, decode_item, decode_meta
from django_graceful.nodes.names import execution_id
from django_graceful.processes import Process, Stop, add_root, remove_root
from django_graceful.queues import get_queue
from django_graceful.runner.slate import Slate, Why, Word
from django_graceful.stores.base import Lease

_decode = json.JSONDecoder().decode


class Job:
    """One item that is about to run. Raises :class:`~django_graceful.exceptions.RecordError` for what can not be
    decoded, and for a dead item that another store has handed over: it is dead here too, for the same reason.
    """

    def __init__(self, queue: str, lease: Lease) -> None:
        self.queue = queue
        self.execution = lease.execution
        self.header: Header = decode_header(lease.record)
        self._record = lease.record
        if self.header.meta:
            _refuse_dead(self.header)
        try:
            self.payload: Any = _decode(lease.record[self.header.payload_at :].decode())
        except (ValueError, RecursionError) as error:
            raise RecordError(f"item {self.header.id.hex()}: the payload is not JSON: {error}") from error

    @cached_property
    def item(self) -> Item:
        """The item, as handlers and receivers see it."""
        return decode_item(self.queue, self._record)


def _refuse_dead(header: Header) -> None:
    ended = decode_meta(header.meta).get("ended")
    if isinstance(ended, dict):
        raise RecordError(str(ended.get("reason", "")))


class Asked(Protocol):
    """Who knows whether an execution is to stop."""

    @property
    def asked(self) -> Why | None:
        """Why it is; None: nobody wants that."""


class JobProcess(Process):
    """The process of one execution: it stops when the slate says so."""

    def __init__(self, jobs: Sequence[Job], stopper: Asked, slate: Slate) -> None:
        super().__init__("", kind="job")  # its description is worked out when somebody asks
        self._jobs = jobs
        self._stopper = stopper
        self._slate = slate
        self._over = False

    @property
    def description(self) -> str:
        """The queue, and the item or how many there are."""
        first = self._jobs[0]
        what = first.header.id.hex() if len(self._jobs) == 1 else f"{len(self._jobs)} items"
        return f"{first.queue}: {what}"

    @property
    def id(self) -> str:
        """``<store>.x<execution in hex>``, the same for all who see this execution."""
        alias = get_queue(self._jobs[0].queue).options.store
        store = get_conf().stores.get(alias)
        return execution_id(alias if store is None else store.home, self._jobs[0].execution)

    @property
    def details(self) -> dict[str, Any]:
        """Its queue and item; the numbers are those of the first item of a batch."""
        first = self._jobs[0]
        return {
            "queue": first.queue,
            "item": first.header.id.hex(),
            "items": len(self._jobs),
            "execution": first.execution,
            "attempt": first.header.attempt,
        }

    @property
    def item(self) -> Item:
        """The item that runs; the first of a batch."""
        return self._jobs[0].item

    @property
    def worker(self) -> str:
        """The name of this worker, as a lease has it."""
        return self._slate.path.name

    def show(self) -> None:
        """Listed from now on: a plain job is not, the master's row says all of it."""
        add_root(self)
        if self._over:  # shown by a thread that the job did not wait for
            remove_root(self)
        nodes.join("worker")

    def end(self) -> None:
        """The run is over: not listed any more."""
        self._over = True
        remove_root(self)

    @property
    def stop(self) -> Stop | None:
        """Who asked for it, and why, only the runner knows."""
        if self._stop is None:
            asked = self._stopper.asked
            if asked is not None:
                vars(self).setdefault("_stop", Stop(asked.name.lower(), asked_at=time.time()))
        return self._stop

    @property
    def stopping(self) -> bool:
        """Also true while the runner drains: a good moment to come to a safe point."""
        return self._slate.words[Word.HAMMER_AT] != 0 or super().stopping

    @property
    def remaining(self) -> float | None:
        """Seconds until the hammer, while the runner drains."""
        at = self._slate.words[Word.HAMMER_AT]
        return max(0.0, (at - time.monotonic_ns()) / 1e9) if at else None

    @property
    def patience(self) -> float:
        """Half of what the runner grants before it kills the worker; the other half is for the job's cleanup."""
        asked, conf = self._stopper.asked, get_conf()
        if asked is None:
            return conf.kill_after
        return (conf.kill_after if asked is Why.SHUTDOWN else conf.cancel_grace) / 2


class BatchProcess(JobProcess):
    """The process of a batch: its handler may call items handled, one by one."""

    def __init__(self, jobs: Sequence[Job], stopper: Asked, slate: Slate) -> None:
        super().__init__(jobs, stopper, slate)
        self._executions: dict[int, list[int]] = {}
        for job in jobs:
            self._executions.setdefault(id(job.payload), []).append(job.execution)

    def handled(self, payload: Any) -> None:
        """As in :class:`~django_graceful.processes.Process`. Raises ``ValueError`` for what is not in the batch."""
        executions = self._executions.get(id(payload))
        if not executions:
            raise ValueError("handled() takes a payload that the batch handler was given: that object, once")
        self._slate.mark(executions.pop(0))
