"""Hooks at the moments of a node's life: when it starts to drain, when the hammer strikes, at its end.

They run in the node where they were registered: in each worker of a runner (registered when an app is imported, or by
a handler), never in the runner's master. A hook that raises is logged and never stops the next one; none can hold the
node for ever. A node that is killed (SIGKILL, the death of its runner) runs none: what must not be lost waits for no
hook.

Hooks of draining and hammer start at once, each in a daemon thread of its own, also while a job runs. Those of
terminate run one after the other, after the last job, each in a daemon thread and no longer than its own limit. The
Django signals of the same moments (:mod:`django_graceful.signals`) are sent the same way.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, overload

from django.db import connections
from django.dispatch import Signal

from django_graceful import signals
from django_graceful.exceptions import NodeEnding
from django_graceful.lifecycle.phases import Phase

logger = logging.getLogger("django_graceful.lifecycle")

#: Seconds that the end of a node waits for hooks of draining and hammer that still run, all together, and for the
#: receivers of ``signals.terminate``.
PATIENCE = 5.0

Hook = Callable[[], object]
_SIGNALS: dict[Phase, Signal] = {
    Phase.DRAINING: signals.draining,
    Phase.HAMMER: signals.hammer,
    Phase.TERMINATE: signals.terminate,
}


@dataclass(eq=False, repr=False)
class Registration:
    """One hook that waits for its moment. As a context manager it is cancelled at the end of the body; called, it
    calls the function (so a decorated function stays one).
    """

    node: Node
    phase: Phase
    fn: Hook
    #: What the log calls it.
    name: str
    #: Seconds it may take, and its place in the order; both for terminate only.
    timeout: float
    order: int

    def __repr__(self) -> str:
        return f"<Registration {self.name} at {self.phase}>"

    def __call__(self) -> object:
        return self.fn()

    def cancel(self) -> None:
        """Take the hook away. Does nothing when it was cancelled before, has run, or runs just now."""
        self.node.forget(self)

    def __enter__(self) -> Registration:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()


class Node:
    """The hooks of this OS process, and which of its moments have come. A fork keeps the hooks and starts its own
    life; safe in any thread.
    """

    def __init__(self) -> None:
        self._hooks: dict[Registration, None] = {}
        self._renew()

    def _renew(self) -> None:
        self._lock = threading.Lock()
        #: Held while the hooks of a moment are being started.
        self._starting = threading.RLock()
        self._reached: set[Phase] = set()
        self._running: dict[threading.Thread, str] = {}
        self._wanted: Callable[[], None] | None = None
        self._announcing: threading.Thread | None = None

    @property
    def phase(self) -> Phase:
        """The last of its moments that has come; ``running`` before."""
        ends = (Phase.TERMINATE, Phase.HAMMER, Phase.DRAINING)
        return next((phase for phase in ends if phase in self._reached), Phase.RUNNING)

    def watch(self, wanted: Callable[[], None]) -> None:
        """``wanted`` is called, once, when somebody first waits for draining or hammer: from then on this process
        must hear of them without delay. At once, when somebody does already.
        """
        with self._lock:
            self._wanted = wanted
        if any(self._awaited(phase) for phase in (Phase.DRAINING, Phase.HAMMER)):
            self._want()

    def register(self, phase: Phase, fn: Hook, name: str | None, timeout: float, order: int) -> Registration:
        """Let ``fn`` be called at that moment; at once when it has come. Raises
        :class:`~django_graceful.exceptions.NodeEnding` when it is terminate that has come.
        """
        label = name or f"{getattr(fn, '__module__', '?')}.{getattr(fn, '__qualname__', repr(fn))}"
        found = Registration(self, phase, fn, label, timeout, order)
        with self._lock:
            late = phase in self._reached
            if late and phase is Phase.TERMINATE:
                raise NodeEnding(f"at_terminate({label}): this process is ending already, its hooks have been called")
            if not late:
                self._hooks[found] = None
        if late:
            self._start(label, fn)
        elif phase is not Phase.TERMINATE:
            self._want()
        return found

    def forget(self, registration: Registration) -> None:
        """Take this hook away, if it is there."""
        with self._lock:
            self._hooks.pop(registration, None)

    def reach(self, phase: Phase, name: str) -> None:
        """The moment has come for this node, called ``name``: start its hooks and tell the receivers of its signal.

        Once; a hammer is always a drain as well. Returns at once for draining and hammer, for terminate when all is
        over. Nothing is heard after terminate.
        """
        if phase is Phase.TERMINATE:
            self._terminate(name)
            return
        with self._starting:
            if phase is Phase.HAMMER:
                self.reach(Phase.DRAINING, name)
            hooks = self._take(phase)
            if hooks is None:
                return
            if _SIGNALS[phase].receivers:
                announce = partial(_announce, phase, name, self._announcing)
                self._announcing = self._start(f"receivers of signals.{phase}", announce)
            for hook in hooks:
                self._start(hook.name, hook.fn)

    def _take(self, phase: Phase) -> list[Registration] | None:
        """The hooks of a moment that has come just now, in their order; None when it had come before."""
        with self._lock:
            if phase in self._reached or Phase.TERMINATE in self._reached:
                return None
            self._reached.add(phase)
            hooks = sorted((hook for hook in self._hooks if hook.phase is phase), key=lambda hook: hook.order)
            for hook in hooks:
                del self._hooks[hook]
        return hooks

    def _terminate(self, name: str) -> None:
        end = time.monotonic() + PATIENCE
        if self._starting.acquire(timeout=PATIENCE):  # another thread may be at the hooks of the hammer
            self._starting.release()
        hooks = self._take(Phase.TERMINATE)
        if hooks is None:
            return
        announce = partial(_announce, Phase.TERMINATE, name, self._announcing)
        for thread, label in list(self._running.items()):
            _wait(thread, label, end - time.monotonic())
        if signals.terminate.receivers:
            _wait(self._start("receivers of signals.terminate", announce), "receivers of signals.terminate", PATIENCE)
        for hook in hooks:
            _wait(self._start(hook.name, hook.fn), hook.name, hook.timeout)

    def _awaited(self, phase: Phase) -> bool:
        with self._lock:
            return bool(_SIGNALS[phase].receivers) or any(hook.phase is phase for hook in self._hooks)

    def _want(self) -> None:
        with self._lock:
            wanted, self._wanted = self._wanted, None
        if wanted is not None:
            wanted()

    def _start(self, label: str, fn: Hook) -> threading.Thread:
        thread = threading.Thread(target=self._run, args=(label, fn), name=f"graceful: {label}", daemon=True)
        with self._lock:
            self._running[thread] = label
        try:
            thread.start()
        except RuntimeError as error:  # no thread is to be had
            logger.error("hook %s can not be called: %s", label, error)
        return thread

    def _run(self, label: str, fn: Hook) -> None:
        try:
            fn()
        except BaseException:  # SystemExit of a hook is no reason to leave out the next one
            logger.exception("hook %s failed", label)
        finally:
            connections.close_all()  # this thread's own
            with self._lock:
                self._running.pop(threading.current_thread(), None)


def _wait(thread: threading.Thread, label: str, seconds: float) -> None:
    if thread.ident is not None:
        thread.join(max(0.0, seconds))
    if thread.is_alive():
        logger.error("hook %s is given up: it did not end within its limit", label)


def _announce(phase: Phase, name: str, before: threading.Thread | None) -> None:
    if before is not None and before.ident is not None:  # receivers hear the moments in their order
        before.join(PATIENCE)
    for receiver, answer in _SIGNALS[phase].send_robust(sender=name, node=name):
        if isinstance(answer, Exception):
            logger.error("receiver %r: %r", receiver, answer, exc_info=answer)


#: The node that this OS process is.
node = Node()
os.register_at_fork(after_in_child=node._renew)


@overload
def at_shutdown(fn: Hook, *, name: str | None = None) -> Registration: ...
@overload
def at_shutdown(fn: None = None, *, name: str | None = None) -> Callable[[Hook], Registration]: ...
def at_shutdown(fn: Hook | None = None, *, name: str | None = None) -> Any:
    """Call ``fn()`` when this node starts to drain: no new work is taken, what runs goes on.

    It is called in a thread of its own, at once when the node drains already, and never twice. Usable as a decorator.
    Cancel the returned registration when you no longer care, or use it in ``with``. ``name`` is for the log.
    """
    return _register(Phase.DRAINING, fn, name)


@overload
def at_hammer(fn: Hook, *, name: str | None = None) -> Registration: ...
@overload
def at_hammer(fn: None = None, *, name: str | None = None) -> Callable[[Hook], Registration]: ...
def at_hammer(fn: Hook | None = None, *, name: str | None = None) -> Any:
    """Call ``fn()`` when the hammer strikes: what runs is being cancelled. Otherwise as :func:`at_shutdown`."""
    return _register(Phase.HAMMER, fn, name)


@overload
def at_terminate(fn: Hook, *, timeout: float = 5.0, name: str | None = None, order: int = 0) -> Registration: ...
@overload
def at_terminate(
    fn: None = None, *, timeout: float = 5.0, name: str | None = None, order: int = 0
) -> Callable[[Hook], Registration]: ...
def at_terminate(fn: Hook | None = None, *, timeout: float = 5.0, name: str | None = None, order: int = 0) -> Any:
    """Call ``fn()`` when this node ends, after its last job: the lowest ``order`` first, then first registered first.

    ``fn`` has ``timeout`` seconds, then it is given up and named in the log, and the next one is called. While the
    runner stops, all of them together have what is left of ``HAMMER_AFTER`` + ``KILL_AFTER`` + 3 seconds; the worker
    is killed then. Usable as a decorator, with or without arguments; returns a registration, to be cancelled by
    short-lived code. Raises :class:`~django_graceful.exceptions.NodeEnding` when the node is at that point already.
    """
    return _register(Phase.TERMINATE, fn, name, timeout, order)


def _register(phase: Phase, fn: Hook | None, name: str | None, timeout: float = PATIENCE, order: int = 0) -> Any:
    if fn is None:
        return lambda function: node.register(phase, function, name, timeout, order)
    return node.register(phase, fn, name, timeout, order)
