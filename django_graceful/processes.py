"""Running work as the monitor shows it: context, table row and cancel handle in one.

A :class:`Process` is found through a context variable, so nested work forms a tree, over ``await``, new tasks and
``asgiref``'s hops between threads too (a bare ``threading.Thread`` begins without one). The runner's workers make one
for each execution; :class:`process` makes one anywhere else. Everything here may be called from any thread.

Nothing here takes a lock, so a signal handler may call it as well: what must happen once is decided by
``dict.setdefault``, which is one step.
"""

from __future__ import annotations

import contextvars
import itertools
import logging
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Unpack

from django_graceful import nodes
from django_graceful.conf import get_conf
from django_graceful.exceptions import Cancelled
from django_graceful.lifecycle.countdown import countdown
from django_graceful.nodes import names

if TYPE_CHECKING:
    from django_graceful.subprocesses import Options, Word

logger = logging.getLogger("django_graceful.processes")

_current: contextvars.ContextVar[Process | None] = contextvars.ContextVar("django_graceful_process", default=None)
#: What :func:`roots` gives, oldest first.
_roots: dict[Process, None] = {}
_numbers = itertools.count(1)
#: A wish to stop may stand on a page that wakes nobody: who waits looks for it that often, in seconds.
_TICK = 0.05


@dataclass(slots=True)
class Stop:
    """That a process was asked to stop, and how far that came. Times are seconds since the epoch."""

    #: What :class:`~django_graceful.exceptions.Cancelled` carries: ``cancel``, ``timeout`` or ``shutdown``.
    reason: str
    #: Who asked, and why; for people.
    by: str = ""
    note: str = ""
    asked_at: float = 0.0
    #: When the exception was delivered, or seen by :meth:`Process.check`; None: not yet.
    stopping_at: float | None = None

    def begin(self) -> None:
        """The exception is on its way: called by whoever delivers it. The first time counts."""
        if self.stopping_at is None:
            self.stopping_at = time.time()


class Process:
    """One running piece of work.

    ``kind`` is empty, ``request``, ``command`` or ``job``. A ``system`` process is listed, and can not be cancelled
    from outside of its OS process. Making one lists it nowhere: :func:`enter` does, and :class:`process`.
    """

    #: How the work is interrupted where it blocks, set by whoever made the process: called once, in the canceller's
    #: thread, right after :attr:`stop` is set, with the process. What it raises is logged.
    on_cancel: Callable[[Process], object] | None = None
    done: float | None = None
    total: float | None = None
    step = ""
    _stop: Stop | None = None

    def __init__(
        self, description: str, parent: Process | None = None, *, kind: str = "", system: bool = False
    ) -> None:
        self._description = description
        self.parent = parent
        self.kind = kind
        self.system = system
        self.since = time.time()
        #: The subprocesses that run in it now: their OS pid and their command line without credentials.
        self.commands: dict[int, str] = {}
        self._node = names.current
        self._number = next(_numbers)
        self._children: dict[Process, None] = {}

    @property
    def id(self) -> str:
        """``<node>.<n>``: no other process of the site has or had it."""
        return f"{self._node}.{self._number}"

    @property
    def description(self) -> str:
        """What it is, for people."""
        return self._description

    @property
    def details(self) -> dict[str, Any]:
        """What only its kind knows, for its row: JSON values by name."""
        return {}

    @property
    def children(self) -> tuple[Process, ...]:
        """What runs directly below it now, oldest first."""
        return tuple(self._children)

    @property
    def stop(self) -> Stop | None:
        """That it, or a process above it, was asked to stop; None while nobody asked."""
        if self._stop is None and self.parent is not None:
            return self.parent.stop
        return self._stop

    def cancel(self, reason: str = "cancel", *, by: str = "", note: str = "") -> None:
        """Ask this process, and all below it, to stop: the next :meth:`check` or :meth:`wait` in them raises
        :class:`~django_graceful.exceptions.Cancelled` with ``reason``, their subprocesses are ended, and what else
        they block in is left by :attr:`on_cancel` where they have one.

        ``by`` and ``note`` are who and why, for people. The first call counts. Returns at once.
        """
        self._ask(Stop(reason, by, note, time.time()))

    def _ask(self, stop: Stop) -> None:
        if vars(self).setdefault("_stop", stop) is stop and self.on_cancel is not None:
            try:
                self.on_cancel(self)
            except Exception:
                logger.exception("interrupting %s (%s)", self.id, self.description)
        for child in self.children:
            child._ask(replace(stop))

    @property
    def stopping(self) -> bool:
        """Whether this process, or one above it, or its whole node, has been asked to stop."""
        return self.stop is not None or (countdown.running if self.parent is None else self.parent.stopping)

    @property
    def remaining(self) -> float | None:
        """Seconds until running work is cancelled, while the node drains; None while it does not."""
        return countdown.remaining if self.parent is None else self.parent.remaining

    @property
    def patience(self) -> float:
        """Seconds that a subprocess has between TERM and KILL when it is ended now: ``KILL_AFTER``, and half of what
        is left to a job or a node that is being stopped, so that there is time to clean up.
        """
        return countdown.patience(get_conf().kill_after) if self.parent is None else self.parent.patience

    def check(self) -> None:
        """Raise :class:`~django_graceful.exceptions.Cancelled` when this process has been asked to stop.

        Cheap: call it in loops.
        """
        stop = self.stop or self.safe_stop()
        if stop is not None:
            stop.begin()
            raise Cancelled(stop.reason, stop.by, stop.note)

    def safe_stop(self) -> Stop | None:
        """Why :meth:`check` and :meth:`wait` shall end it although nobody interrupts it: a management command that
        drains stops at its next safe point. None nearly always.
        """
        return self.parent.safe_stop() if self.parent is not None else None

    def wait(self, seconds: float) -> None:
        """Sleep so long; raises :class:`~django_graceful.exceptions.Cancelled` as soon as this process is asked to
        stop, from whatever thread.
        """
        end = time.monotonic() + seconds
        self.check()
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _TICK))
            self.check()

    def handled(self, payload: Any) -> None:
        """In a batch handler: this payload of the batch is handled, whatever becomes of the others or of this process.

        Its item is done from this moment on, also when the worker is killed in the next. Elsewhere this does nothing.
        """

    def progress(self, done: float, total: float | None = None, step: str = "") -> None:
        """Say how far the work is, for the monitor."""
        self.done, self.total, self.step = done, total, step
        self.show()

    def show(self) -> None:
        """There is something to see here: make this OS process visible to the others, if it is not yet."""
        if self.parent is None:
            nodes.join()
        else:
            self.parent.show()

    def run(self, argv: Sequence[Word], **options: Unpack[Options]) -> subprocess.CompletedProcess[Any]:
        """Run a command that ends with this process: :func:`django_graceful.subprocesses.run`."""
        from django_graceful.subprocesses import execute

        return execute(argv, self, None, options)

    async def arun(self, argv: Sequence[Word], **options: Unpack[Options]) -> subprocess.CompletedProcess[Any]:
        """Run a command that ends with this process or task: :func:`django_graceful.subprocesses.arun`."""
        from django_graceful.subprocesses import execute_async

        return await execute_async(argv, self, options)


def current_process() -> Process | None:
    """The innermost process around the caller, or None."""
    return _current.get()


def roots() -> tuple[Process, ...]:
    """The processes of this OS process that have no parent in it, oldest first; none at first in a fork's child."""
    return tuple(_roots)


def add_root(process: Process) -> None:
    """List it, whatever its context is."""
    _roots[process] = None


def remove_root(process: Process) -> None:
    """Not listed any more, if it was."""
    _roots.pop(process, None)


def enter(process: Process) -> None:
    """List ``process``, and make it the current one of the caller's context; :func:`leave` undoes both.

    Below a process that has been asked to stop it is asked at once.
    """
    parent = process.parent
    if parent is None or parent._node is not names.current:  # made before a fork: it runs elsewhere
        add_root(process)
    if parent is not None:
        parent._children[process] = None
        stop = parent.stop
        if stop is not None:  # that order may have gone by before the line above
            process._ask(replace(stop, stopping_at=None))
    _current.set(process)
    process.show()


def leave(process: Process) -> None:
    """The work is over: ``process`` is not listed any more, and its parent is the current one."""
    remove_root(process)
    if process.parent is not None:
        process.parent._children.pop(process, None)
    # Not by a token: under asgiref the end may come in another context than the beginning.
    _current.set(process.parent)


class process:
    """``with process("Rebuild sitemap") as p:`` or ``async with``: the body is a process below the current one.

    ``kind`` and ``system`` are those of :class:`Process`. What the body raises travels on.
    """

    def __init__(self, description: str, *, kind: str = "", system: bool = False) -> None:
        self._description, self._kind, self._system = description, kind, system

    def __enter__(self) -> Process:
        self._made = made = Process(self._description, _current.get(), kind=self._kind, system=self._system)
        enter(made)
        return made

    def __exit__(self, *error: object) -> None:
        leave(self._made)

    async def __aenter__(self) -> Process:
        return self.__enter__()

    async def __aexit__(self, *error: object) -> None:
        self.__exit__()


def entered(process: Process, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call ``function`` with ``process`` as the current one; for a context that ends with the call."""
    _current.set(process)
    return function(*arguments)


os.register_at_fork(after_in_child=_roots.clear)
