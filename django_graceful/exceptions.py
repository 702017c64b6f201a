"""Every error that django_graceful raises, one line of explanation each.

Errors that a *caller* meets derive from :class:`GracefulError`. The three that a *handler* raises to say what
should become of its item (:class:`Retry`, :class:`Discard`, :class:`CancelProcess`) are not failures.
:class:`Cancelled` travels through a handler that is being stopped; it derives from ``BaseException`` so that
``except Exception`` in the handler does not swallow it.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import timedelta

from django_graceful.options import coerce_delay

#: How much of a subprocess's output an error keeps, in characters of each stream.
TAIL = 4096


class GracefulError(Exception):
    """Base of all errors that a caller of django_graceful can meet."""


class PayloadError(GracefulError, TypeError):
    """The payload is not JSON: says which value is not, nothing was pushed."""


class PayloadTooLarge(GracefulError, ValueError):
    """The payload's JSON is longer than ``MAX_PAYLOAD`` bytes; nothing was pushed."""


class QueueFull(GracefulError):
    """``LENGTH`` items wait already and no room came within ``PUSH_TIMEOUT`` seconds; nothing was pushed."""


class OutboxUnavailable(GracefulError):
    """The database of this transaction has no table for the outbox, or does not take part; nothing was pushed."""


class UnknownQueue(GracefulError, LookupError):
    """No queue of that name is declared in any app's ``queues.py``."""


class StoreError(GracefulError):
    """Base of what a store can say."""


class StoreUnavailable(StoreError):
    """The store can not be reached, opened or written just now; the message says why and what to do."""


class StoreLocked(StoreUnavailable):
    """Another process owns the store. ``pid`` names it when it is known."""

    def __init__(self, message: str, pid: int | None = None) -> None:
        super().__init__(message)
        self.pid = pid


class StoreFull(StoreUnavailable):
    """The disk (or the file size limit) has no room; nothing was pushed."""


class StoreCorrupt(StoreError):
    """The store's files are damaged and could not be repaired."""


class NodeEnding(GracefulError, RuntimeError):
    """Too late for an ``at_terminate`` hook: this process is ending, its hooks have been called."""


class RecordError(StoreError, ValueError):
    """A stored record can not be decoded: wrong format version, cut short, or not JSON."""


class ProcessFailed(GracefulError):
    """A subprocess ended with another code than 0, or by a signal. Credentials are masked in all of its texts.

    ``command`` is the list that was run, ``returncode`` the exit code or minus the signal's number (None: it never
    ran), ``stdout`` and ``stderr`` the last :data:`TAIL` characters of each.
    """

    #: Whether it was ended because its time was over.
    timed_out = False
    #: Whether this is the cause (``__cause__``) of a :class:`Cancelled` that ended the subprocess.
    cancelled = False

    def __init__(
        self, command: Sequence[str], reason: str, returncode: int | None = None, stdout: str = "", stderr: str = ""
    ) -> None:
        super().__init__(command, reason, returncode, stdout, stderr)
        self.command = list(command)
        self.reason = reason
        self.returncode = returncode
        self.stdout, self.stderr = stdout[-TAIL:], stderr[-TAIL:]

    @property
    def signal(self) -> int | None:
        """The number of the signal that ended it, if one did."""
        return -self.returncode if self.returncode is not None and self.returncode < 0 else None

    def __str__(self) -> str:
        last = (self.stderr.strip() or self.stdout.strip()).rpartition("\n")[2]
        return f"{shlex.join(self.command)}: {self.reason}" + (f": {last}" if last else "")


class ProcessTimedOut(ProcessFailed):
    """A subprocess took longer than its ``timeout`` and was ended, with everything that it had started."""

    timed_out = True


class ProcessNotStarted(ProcessFailed, FileNotFoundError):
    """A subprocess could not be started: no such program or directory, not executable, or no room for it."""

    def __str__(self) -> str:
        return ProcessFailed.__str__(self)


class Retry(Exception):
    """Raised by a handler: run this item again, after ``delay`` seconds (default: the queue's backoff).

    The attempt counts; when none is left the item is dead, with ``reason``. A ``delay`` that is no time raises
    ``TypeError`` or ``ValueError`` in the handler, which fails with it.
    """

    def __init__(self, delay: float | timedelta | None = None, reason: str = "") -> None:
        super().__init__(delay, reason)
        self.delay = None if delay is None else coerce_delay(delay)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class Discard(Exception):
    """Raised by a handler: this item can never succeed. It is dead at once, with ``reason``, without a retry."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


class CancelProcess(Exception):
    """Raised by a handler: stop here, with outcome ``cancelled``: no failure, no retry."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


class Cancelled(BaseException):
    """Raised *inside* running work that is being stopped; ``reason`` is ``cancel``, ``timeout`` or ``shutdown``.

    ``by`` and ``note`` are who asked for it and why, where that is known. Clean up and let it travel on. Work that
    swallows it is killed ``CANCEL_GRACE`` seconds later.
    """

    def __init__(self, reason: str = "cancel", by: str = "", note: str = "") -> None:
        super().__init__(reason)
        self.reason, self.by, self.note = reason, by, note


class TaskError(GracefulError):
    """Base of what stands in the ``errors`` of a FAILED task when its function raised nothing."""


class TaskCancelled(TaskError):
    """The task was cancelled; the traceback's place has who asked for it and why."""


class TaskTimedOut(TaskError):
    """One run of the task took longer than its ``timeout`` and was stopped."""


class TaskInterrupted(TaskError):
    """The worker died while it ran the task, or a task that must not run twice was interrupted."""


class TaskUnusable(TaskError):
    """What was enqueued can not be run by the code of now: says what has changed and what to do."""


class ResultTooLarge(TaskError, ValueError):
    """The return value of a task is longer, as JSON, than ``MAX_RESULT`` bytes."""
