"""``GracefulCommand``: a management command that is listed, can be cancelled, and stops well.

Derive from it instead of ``BaseCommand``; nothing else changes, and ``self.process`` is the command's
:class:`~django_graceful.processes.Process`. Started from the command line it runs in a child of a small supervisor
(:mod:`~django_graceful.management.supervisor`): TERM and Ctrl-C drain, then hammer, then kill, and no subprocess
outlives it. Called by code (``call_command``) it runs where it is called, as a process below the current one, and no
signal is touched.
"""

from __future__ import annotations

import gc
import os
import secrets
import shlex
import signal
import sys
import threading
import traceback
import warnings
from typing import Any, NoReturn

from django.core.management.base import BaseCommand
from django.db import connections

from django_graceful import descendants
from django_graceful.exceptions import Cancelled
from django_graceful.management.child import Child
from django_graceful.management.deputy import Deputy
from django_graceful.management.page import Page
from django_graceful.management.supervisor import HEARD, SENT, Supervisor
from django_graceful.management.typed import typed
from django_graceful.masking import mask_command
from django_graceful.processes import Process, current_process, process


class GracefulCommand(BaseCommand):
    """Base of commands that stop well::

        class Command(GracefulCommand):
            def handle(self, *args, **options):
                for n, row in enumerate(rows):
                    self.process.check()
                    self.process.progress(n, len(rows))

    After TERM, INT or HUP ``self.process.stopping`` is true, ``remaining`` counts down from ``HAMMER_AFTER``, and the
    next ``self.process.check()`` or ``wait()`` raises ``Cancelled``: those are the safe points. Subprocesses of
    ``run()`` go on until then. At ``HAMMER_AFTER``, or at a second signal, ``Cancelled`` is raised wherever Python
    code is; ``KILL_AFTER`` later, or at a third, the command is killed with all it has started. ``graceful cancel``
    raises at once, and kills after ``CANCEL_GRACE``.

    Exit code: the command's own when it came to its end; 128 and the number of the first signal (143 for TERM, 130 for
    Ctrl-C) when that stopped it; 137 when it was killed; 1 when it was cancelled. A last line on standard error
    says which, and how far it was. Hooks of :mod:`django_graceful.lifecycle` work.
    """

    #: The command's process; until it runs, one that nobody lists.
    process: Process
    _child: Child | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.process = Process(self._name, kind="command")

    def run_from_argv(self, argv: list[str]) -> None:
        """The command line's entry. It returns, or raises ``SystemExit``, in the child only; the parent ends with it.

        In a thread, or inside of another process, it is run in place.
        """
        if threading.current_thread() is not threading.main_thread() or current_process() is not None:
            super().run_from_argv(argv)
            return
        self._described = shlex.join(mask_command(argv[1:]))
        self._child = child = _fork(self._name, self._described)
        try:
            super().run_from_argv(argv)
        except Cancelled as error:
            sys.exit(child.stopped(error))
        finally:
            child.say_farewell()

    def execute(self, *args: Any, **options: Any) -> str | None:
        """As in Django, with a process around it."""
        child, self._child = self._child, None
        if child is None:
            with process(self._describe(options), kind="command") as self.process:
                return self._execute(*args, **options)
        self.process = child.begin(self._described)
        try:
            return self._execute(*args, **options)
        finally:
            child.end()

    def _execute(self, *args: Any, **options: Any) -> str | None:
        self.process.check()
        return super().execute(*args, **options)

    @property
    def _name(self) -> str:
        return type(self).__module__.rpartition(".")[2]

    def _describe(self, options: dict[str, Any]) -> str:
        """As it would be typed."""
        return shlex.join(mask_command([self._name, *typed(self.create_parser("", self._name), options)]))


def _fork(name: str, description: str) -> Child:
    """Returns in the child; the parent becomes the supervisor, and ends the process."""
    page, mark, parent = Page(), f"command:{secrets.token_hex(8)}", os.getpid()
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:  # inherited: no end could be waited for
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    heard = {number for number in HEARD if signal.getsignal(number) is not signal.SIG_IGN}
    supervisor = Supervisor(name, page, mark, heard, Deputy(page, description))
    descendants.adopt()
    connections.close_all()  # the supervisor would keep its locks
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, heard | SENT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads that an app has started do not live on
        child = os.fork()
    if child != 0:
        _supervise(supervisor, child)
    return Child(page, mark, parent, mask)


def _supervise(supervisor: Supervisor, child: int) -> NoReturn:
    """Nothing of what Python does at its end is done here: that is the child's."""
    code = 70
    try:
        gc.disable()
        code = supervisor.run(child)
    except BaseException:
        traceback.print_exc()
        os.kill(child, signal.SIGKILL)
    finally:
        os._exit(code)
