"""The supervisor of a command: a small parent that takes its signals, keeps its deadlines, and ends what it leaves.

``manage.py thing`` of a :class:`~django_graceful.management.GracefulCommand` forks: the child runs the command, the
parent is this loop. It runs none of the site's code and waits for nothing but signals (its
:mod:`~django_graceful.management.deputy` has a thread, and sockets), so nothing that the command does can hold it up:
a stop is bounded (promise P4). As child subreaper it is given what the command leaves behind, and ends it, however the
command has ended (promise P5). When the supervisor itself is killed, the command dies with it (parent-death signal),
and so do the direct subprocesses of ``run()``; what these have started in sessions of their own lives on then, because
nobody is left to look for it.

==================  ========================================================================
TERM, INT, HUP      drain: the next safe point ends it; a second one hammers, a third one kills
QUIT, USR2          hammer now: ``Cancelled`` wherever its Python code is
USR1                the stacks of the command go to standard error
TSTP                stops both, CONT goes on with both; no deadline passes meanwhile
==================  ========================================================================

What the command's caller ignores (``nohup``) stays ignored. All other signals are blocked and waited for, so none of
them interrupts anything; two of a kind count as two when the first has been taken, microseconds later.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from django_graceful import descendants, stacks
from django_graceful.conf import get_conf
from django_graceful.lifecycle.phases import Event, Phase, follow
from django_graceful.management.child import DECIDED, TOLD
from django_graceful.management.deputy import Deputy, State
from django_graceful.management.endings import Ending, exit_code, sentence
from django_graceful.management.page import Field, How, Page
from django_graceful.runner.moments import SIGNAL as MOMENT
from django_graceful.runner.stopping import SIGNAL as INTERRUPT

#: What the supervisor waits for, unless it is ignored.
HEARD = DECIDED | {signal.SIGTSTP, signal.SIGCHLD, TOLD}
#: What else it sends to the command, and may send before that has handlers for it.
SENT = {MOMENT, INTERRUPT, stacks.SIGNAL}

_EVENTS = {
    signal.SIGTERM: Event.STOP,
    signal.SIGINT: Event.STOP,
    signal.SIGHUP: Event.STOP,
    signal.SIGQUIT: Event.HAMMER,
    signal.SIGUSR2: Event.HAMMER,
}
#: Seconds after SIGKILL until it goes without a command that hangs in the kernel.
_LAST_RESORT = 2.0
#: Seconds between two interrupts of a command that has not heard the first.
_PAUSE = 0.05
#: ``si_code`` of what the kernel sent: a terminal's signals, which go to the whole group.
_SI_KERNEL = 0x80


@dataclass(slots=True)
class _Times:
    """When what is due, monotonic seconds; None: never."""

    hammer: float | None = None
    kill: float | None = None
    #: When the command is interrupted once more.
    remind: float | None = None
    give_up: float | None = None
    #: When somebody first asked the command to stop.
    asked: float | None = None

    def next(self) -> float | None:
        """The nearest of what is due."""
        return min((at for at in (self.hammer, self.kill, self.remind, self.give_up) if at is not None), default=None)

    def shift(self, seconds: float) -> None:
        """So long nothing could happen."""
        for name in ("hammer", "kill", "remind", "give_up", "asked"):
            at = getattr(self, name)
            if at is not None:
                setattr(self, name, at + seconds)


class Supervisor:
    """Make it before the fork, and :meth:`run` it in the parent, with the ``heard`` signals blocked."""

    def __init__(self, name: str, page: Page, mark: str, heard: Iterable[int], deputy: Deputy) -> None:
        self._name, self._page, self._mark, self._heard = name, page, mark, set(heard)
        self._deputy = deputy
        self._conf = get_conf()
        #: Children that this process had before.
        self._spared = set(descendants.children())
        self._child = 0
        self._phase = Phase.RUNNING
        self._times = _Times()
        #: How the child ended, as in :class:`~django_graceful.management.endings.Ending`; None while it lives.
        self._status: int | None = None

    def run(self, child: int) -> int:
        """Until the command, which is this child, and all it has started are gone; the exit code."""
        self._child = child
        self._reap()
        while self._status is None:
            self._wait()
            self._look_at_the_clock()
        self._deputy.end()
        self._sweep()
        ending = self._ending(self._status)
        words = sentence(ending)
        if words:
            self._say(words)
        return exit_code(ending)

    def _wait(self) -> None:
        due = self._times.next()
        if due is None:
            found: signal.struct_siginfo | None = signal.sigwaitinfo(self._heard)
        else:
            found = signal.sigtimedwait(self._heard, max(0.0, due - time.monotonic()))
        if found is not None:
            self._heed(found)

    def _heed(self, found: signal.struct_siginfo) -> None:
        number = found.si_signo
        if number == signal.SIGCHLD:
            self._reap()
        elif number == signal.SIGTSTP:
            self._suspend(relay=found.si_code != _SI_KERNEL)
        elif number == signal.SIGUSR1:
            self._send(stacks.SIGNAL)
        elif number == TOLD:
            self._deputy.begin(self._child, self._state, lambda: os.kill(os.getpid(), TOLD))
            if self._page.wish is not None:
                self._cancelled()
        else:
            self._page.words[Field.SIGNAL] = self._page.words[Field.SIGNAL] or number
            self._times.asked = self._times.asked or time.monotonic()
            self._advance(_EVENTS[signal.Signals(number)])

    def _state(self) -> State:
        asked = self._times.asked
        return State(self._phase, time.time() if asked is None else time.time() - (time.monotonic() - asked))

    def _cancelled(self) -> None:
        """The child has interrupted itself if it has heard it; this is for when that does not end it."""
        now = time.monotonic()
        self._times.remind = now
        self._times.asked = self._times.asked or now
        self._times.kill = min(self._times.kill or now + self._conf.cancel_grace, now + self._conf.cancel_grace)

    def _look_at_the_clock(self) -> None:
        now, times = time.monotonic(), self._times
        if times.hammer is not None and now >= times.hammer:
            self._advance(Event.HAMMER)
        if times.remind is not None and now >= times.remind:
            self._interrupt(now)
        if times.kill is not None and now >= times.kill:
            self._advance(Event.KILL)
        if times.give_up is not None and now >= times.give_up and self._status is None:
            self._say(f"pid {self._child} hangs in the kernel; not even SIGKILL ends it")
            self._status = -signal.SIGKILL

    def _interrupt(self, now: float) -> None:
        """Again and again until it is heard: a signal that comes just before a call that blocks is noted by Python, and
        ends nothing.
        """
        self._times.remind = None
        if not self._page.words[Field.RAISED]:
            self._send(INTERRUPT)
            self._times.remind = now + _PAUSE

    def _advance(self, event: Event) -> None:
        before, self._phase = self._phase, follow(self._phase, event)
        if self._phase is before:
            return
        now, times, conf = time.monotonic(), self._times, self._conf
        if self._phase is Phase.DRAINING:
            times.hammer = now + conf.hammer_after
            self._page.words[Field.HAMMER_AT] = int(times.hammer * 1e9)
            self._say(self._promise())
        elif self._phase is Phase.HAMMER:
            times.hammer, times.kill = None, min(times.kill or now + conf.kill_after, now + conf.kill_after)
            self._page.words[Field.HAMMER_AT] = int(now * 1e9)
            self._page.words[Field.STRUCK] = 1
            self._interrupt(now)
        else:
            times.hammer, times.kill, times.remind, times.give_up = None, None, None, now + _LAST_RESORT
            self._send(signal.SIGKILL)
            return
        self._send(MOMENT)

    def _promise(self) -> str:
        name = signal.Signals(self._page.words[Field.SIGNAL]).name
        return f"{name}: stops at its next safe point, in {self._conf.hammer_after:g} s at the latest; again: at once"

    def _suspend(self, *, relay: bool) -> None:
        """Be stopped, as any process is, and go on with the child."""
        begin = time.monotonic()
        if relay:
            self._send(signal.SIGTSTP)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTSTP})
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTSTP})
        self._send(signal.SIGCONT)
        self._times.shift(time.monotonic() - begin)
        if self._phase is Phase.DRAINING and self._times.hammer is not None:
            self._page.words[Field.HAMMER_AT] = int(self._times.hammer * 1e9)

    def _send(self, number: int) -> None:
        if self._status is None:  # not reaped, so the number is still its own
            with suppress(ProcessLookupError, PermissionError):
                os.kill(self._child, number)

    def _reap(self) -> None:
        """Take note of the child's end, and of those that we were given."""
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                self._spared.discard(pid)
                if pid == self._child:
                    self._status = os.waitstatus_to_exitcode(status)

    def _sweep(self) -> None:
        """End what the command left. It is ours since its end, so mostly one look at our children is all."""
        end = time.monotonic() + descendants.PATIENCE
        while self._strangers() and time.monotonic() < end:
            left = descendants.end_marked(self._mark)
            forks = [pid for pid in self._strangers() if descendants.is_fork(pid)]
            for pid in forks:
                os.kill(pid, signal.SIGKILL)
                descendants.reap(pid)
            self._reap()
            if left or not forks:
                return

    def _strangers(self) -> list[int]:
        return [pid for pid in descendants.children() if pid not in self._spared and pid != self._child]

    def _ending(self, status: int) -> Ending:
        page, asked = self._page, self._times.asked
        return Ending(
            status,
            How(page.words[Field.HOW]),
            page.words[Field.SIGNAL],
            page.wish,
            page.progress,
            0.0 if asked is None else time.monotonic() - asked,
        )

    def _say(self, words: str) -> None:
        with suppress(OSError):  # the terminal is gone
            os.write(2, f"{self._name}: {words}\n".encode(errors="replace"))
