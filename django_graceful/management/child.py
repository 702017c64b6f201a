"""The command's own side of its supervision: how it hears of signals and of a cancel, in the forked child.

The supervisor decides what a signal means, writes it on the page and sends :data:`STOP`; the handler raises
:class:`~django_graceful.exceptions.Cancelled` in the main thread, wherever that is, once, and only while ``handle()``
runs. A cancel comes from a thread of this process, or by the supervisor when that thread does not get to answer, and
takes the same way; the supervisor is told, because it is who kills a command that does not stop. TERM, INT and their
kin that reach the child itself (a terminal sends them to the whole group) do nothing here. The child dies with its
supervisor, however that ends.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterable
from types import FrameType
from typing import Any

from django_graceful import descendants, nodes, stacks
from django_graceful.conf import get_conf
from django_graceful.exceptions import Cancelled
from django_graceful.management.endings import stopped_code
from django_graceful.management.page import Field, How, Page, Wish
from django_graceful.processes import Process, Stop, enter, leave
from django_graceful.runner.moments import SIGNAL as MOMENT
from django_graceful.runner.moments import Moments
from django_graceful.runner.stopping import SIGNAL as STOP

#: What the child sends to its supervisor when the page has news: its process, or a wish.
TOLD = STOP
#: The signals whose meaning the supervisor decides, for both.
DECIDED = frozenset(
    {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2},
)


class CommandProcess(Process):
    """The process of a supervised command: while it drains, every safe point ends it."""

    def __init__(self, description: str, page: Page) -> None:
        super().__init__(description, kind="command")
        self._page = page

    @property
    def stop(self) -> Stop | None:
        """Also set when the hammer has struck, whoever looks first."""
        if self._stop is None and self._page.words[Field.STRUCK]:
            vars(self).setdefault("_stop", self._shutdown())
        return self._stop

    def asked(self) -> Stop | None:
        """What the supervisor has written about its stop."""
        if self._page.words[Field.STRUCK]:
            return self._shutdown()
        wish = self._page.wish
        return Stop("cancel", wish.by, wish.note, time.time()) if wish is not None else None

    @property
    def stopping(self) -> bool:
        """True from the first TERM or Ctrl-C on."""
        return self._page.words[Field.HAMMER_AT] != 0 or super().stopping

    @property
    def remaining(self) -> float | None:
        """Seconds until the hammer, while it drains."""
        at = self._page.words[Field.HAMMER_AT]
        return max(0.0, (at - time.monotonic_ns()) / 1e9) if at else None

    @property
    def patience(self) -> float:
        """Half of what the supervisor grants before it kills the command; the other half is for its cleanup."""
        stop, conf = self.stop, get_conf()
        if stop is None:
            return conf.kill_after
        return (conf.kill_after if stop.reason == "shutdown" else conf.cancel_grace) / 2

    def progress(self, done: float, total: float | None = None, step: str = "") -> None:
        """As in :class:`~django_graceful.processes.Process`; the supervisor sees it too."""
        super().progress(done, total, step)
        self._page.note_progress(done, total, step)

    def safe_stop(self) -> Stop | None:
        """The shutdown, from the first signal on."""
        return self._shutdown() if self._page.words[Field.HAMMER_AT] else None

    def _shutdown(self) -> Stop:
        return Stop("shutdown", note=signal.Signals(self._page.words[Field.SIGNAL]).name, asked_at=time.time())


class Child:
    """The command's side. Make it in the forked child, in its main thread, with :data:`DECIDED` and :data:`STOP`
    blocked; ``mask`` is what shall be blocked from then on.
    """

    def __init__(self, page: Page, mark: str, supervisor: int, mask: Iterable[int]) -> None:
        self._page = page
        self._supervisor = supervisor
        self._main = threading.get_ident()
        self._running: CommandProcess | None = None
        self._raised = False
        descendants.die_with(supervisor)
        descendants.become(mark)
        stacks.register(2)
        self._before = self._install()
        self._masks = threading.local()
        os.register_at_fork(before=self._hold, after_in_parent=self._release, after_in_child=self._forget)
        signal.pthread_sigmask(signal.SIG_SETMASK, {*mask, MOMENT})
        self._moments = Moments(page.words, f"command {os.getpid()}", eager=True)

    def begin(self, description: str) -> Process:
        """The command begins; its process. From now until :meth:`end` it can be interrupted anywhere."""
        made = CommandProcess(description, self._page)
        made.on_cancel = self._interrupt
        enter(made)
        nodes.join("command")
        self._page.note_process(made.id)
        self._tell()
        self._running = made
        return made

    def end(self) -> None:
        """The command is over: nothing is raised from now on."""
        made, self._running = self._running, None
        self._page.note_process("")
        if made is not None:
            leave(made)

    def stopped(self, error: Cancelled) -> int:
        """``Cancelled`` came out of the command: the exit code. The supervisor says in words what it means."""
        shutdown = error.reason == "shutdown"
        self._page.words[Field.HOW] = How.STOPPED if shutdown else How.CANCELLED
        return stopped_code(self._page.words[Field.SIGNAL] if shutdown else 0)

    def say_farewell(self) -> None:
        """Let the hooks of the end run; returns when each has had its time."""
        self._moments.say_farewell()
        # The interpreter gives it its default action at its end, and that would be this one's.
        signal.signal(STOP, signal.SIG_IGN)

    def _install(self) -> dict[int, Any]:
        """Handlers instead of ``SIG_IGN``, which subprocesses would inherit. What is ignored already, as under
        ``nohup``, stays so.
        """
        found = {number: signal.getsignal(number) for number in (*DECIDED, STOP)}
        for number, handler in found.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, self._on_stop if number == STOP else _leave_to_supervisor)
        return found

    def _hold(self) -> None:
        """A fork comes: what is sent to it before it has its own handlers shall wait for them."""
        self._masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, self._before)

    def _release(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._masks.before)

    def _forget(self) -> None:
        """In a fork of the command, for instance of ``multiprocessing``: signals mean what they meant before."""
        self._running = None
        raising = signal.default_int_handler  # what it raises in here would be lost
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler in (None, raising) else handler)
        self._release()
        if self._before[signal.SIGINT] is raising:
            signal.signal(signal.SIGINT, raising)

    def _on_stop(self, signum: int, frame: FrameType | None) -> None:
        made = self._running
        if made is None or (frame is not None and frame.f_code in (Child._hold.__code__, Child._release.__code__)):
            return  # in the latter two it would be lost; the supervisor repeats it
        asked = made.asked()
        if asked is not None:
            made.cancel(asked.reason, by=asked.by, note=asked.note)
        stop = made.stop
        if stop is not None and not self._raised:
            self._raised = True
            self._page.words[Field.RAISED] = 1
            stop.begin()
            raise Cancelled(stop.reason)

    def _interrupt(self, process: Process) -> None:
        """Called in the thread of whoever cancels it."""
        stop = process.stop
        if stop is not None and not self._page.words[Field.STRUCK]:
            self._page.note_wish(Wish(stop.by, stop.note))
            self._tell()
        signal.pthread_kill(self._main, STOP)

    def _tell(self) -> None:
        if os.getppid() == self._supervisor:
            os.kill(self._supervisor, TOLD)


def _leave_to_supervisor(signum: int, frame: FrameType | None) -> None:
    """The supervisor has got it too, or is the one that it should have been sent to."""
