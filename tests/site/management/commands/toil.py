"""A command that does, in the way it is told to, what a site's commands do."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import connection, transaction

from django_graceful import Cancelled, ProcessFailed, lifecycle, process
from django_graceful.management import GracefulCommand
from django_graceful.runner.stopping import SIGNAL as INTERRUPT
from tests.site.queues import say
from tests.site.timing import sleep_just_after

#: Lives for ten minutes, does not hear TERM, and has a grandchild of that kind in a session of its own.
_DEAF = "trap '' TERM; setsid sh -c 'trap \"\" TERM; sleep 600; : {0}' & sleep 600; : {0}"


def _said(word: str) -> bool:
    with open(os.environ["GRACEFUL_TEST_OUT"]) as file:
        return any(line.startswith(word) for line in file)


def _fork_once_more() -> None:
    """A fork of a fork, which only becomes an orphan when its parent is gone."""
    if os.fork():
        time.sleep(600)
    say("forked", os.getpid())
    time.sleep(600)


def _there(pid: int, fd: str) -> bool:
    return os.path.lexists(f"/proc/{pid}/fd/{fd}")


def _held(file: str) -> str:
    """Holds the command up where it reads its arguments."""
    say("held")
    end = time.monotonic() + 60
    while os.path.exists(file) and time.monotonic() < end:
        time.sleep(0.005)
    return file


class Command(GracefulCommand):
    help = "Toils, as told."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("way")
        parser.add_argument("census", nargs="?", default="")
        parser.add_argument("--password", default="")
        parser.add_argument("--seconds", type=float, default=600.0)
        parser.add_argument("--hold", type=_held, help="begin when this file is gone")

    def handle(self, *args: Any, **options: Any) -> str | None:
        self.options = options
        self.ready = threading.Event()
        try:
            say("begin", os.getpid(), self.process.id)
            answer: str | None = getattr(self, options["way"])()
        except Cancelled as error:
            say("cancelled", error.reason)
            raise
        finally:
            say("cleanup")
        say("end")
        return answer

    def loop(self) -> None:
        """Comes by a safe point every few milliseconds."""
        for n in range(1, 5001):
            self.process.check()
            self.process.progress(n, 5000, "rows")
            time.sleep(0.005)

    def waits(self) -> None:
        with process("inner") as inner:
            inner.wait(600)

    def sleep(self) -> None:
        self.process.progress(3, None)
        time.sleep(self.options["seconds"])

    def unlucky(self) -> None:
        say("ready")
        sleep_just_after(INTERRUPT)

    def finishes(self) -> None:
        """Notices the drain, and comes to its end all the same."""
        while not self.process.stopping:
            time.sleep(0.005)
        left = self.process.remaining
        assert left is not None
        say("remaining", f"{left:.2f}")

    def counts(self) -> None:
        """Says what is left of the drain when it is released."""
        while not os.path.exists(os.environ["TOIL_RELEASE"]):
            time.sleep(0.005)
        say("remaining", self.process.remaining)

    def swallows(self) -> None:
        end = time.monotonic() + 600
        while time.monotonic() < end:
            try:
                self.ready.set()
                time.sleep(600)
            except Cancelled as error:
                say("swallowed", error.reason)

    def stuck(self) -> None:
        """Waits in C for a lock that it has itself, with the interpreter's lock in hand."""
        libc = ctypes.PyDLL(None)
        mutex = ctypes.create_string_buffer(64)
        libc.pthread_mutex_lock(mutex)
        say("stuck")
        libc.pthread_mutex_lock(mutex)

    def runs(self) -> None:
        self.ready.set()
        self.process.run(["sh", "-c", _DEAF.format(self.options["census"])])

    def plain(self) -> None:
        self.process.run(["sh", "-c", f"sleep 600; : {self.options['census']}"])

    def unit(self) -> None:
        """A unit of work with a subprocess in it, and a safe point behind it."""
        try:
            self.process.run(["sh", "-c", f"sleep 1; : {self.options['census']}"])
            say("unit", self.process.stopping)
            self.process.run(["true"])
        except ProcessFailed as error:
            say("broken", error)
        self.process.check()

    def leaves(self) -> None:
        """Ends at once, and leaves everything behind."""
        self._leave()

    def dies(self) -> None:
        self._leave()
        say("left")
        time.sleep(600)

    def _leave(self) -> None:
        subprocess.Popen(["sh", "-c", _DEAF.format(self.options["census"])])
        child = multiprocessing.get_context("fork").Process(target=_fork_once_more)
        child.start()
        say("fork", child.pid)
        until_said = time.monotonic() + 30
        while not _said("forked ") and time.monotonic() < until_said:
            time.sleep(0.005)
        multiprocessing.process._children.clear()  # type: ignore[attr-defined]  # or Python waits for it at its end

    def forks(self) -> None:
        """A fork of the command is an ordinary process to signals."""
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
        child.start()
        child.terminate()
        child.join(20)
        say("exitcode", child.exitcode)

    def asks(self) -> None:
        self.stdout.write(f"hello {input('who? ')}")

    def fails(self) -> None:
        raise CommandError("it did not work", returncode=3)

    def raises(self) -> None:
        raise ValueError("nobody expected this")

    def exits(self) -> None:
        sys.exit(7)

    def answers(self) -> str:
        return "the answer"

    def cancels(self) -> None:
        """Another thread, as that of the exchange, cancels it."""
        self.process.progress(12, 50)
        made = self.process

        def cancel() -> None:
            assert self.ready.wait(60)
            made.cancel(by="ada", note="wrong list")

        threading.Thread(target=cancel).start()
        getattr(self, os.environ["TOIL_THEN"])()

    def lingers(self) -> None:
        try:
            self.ready.set()
            say("comes to linger")
            time.sleep(600)
        finally:
            say("lingering")
            time.sleep(600)
            say("lingered")

    def just_sleep(self) -> None:
        self.ready.set()
        time.sleep(600)

    def transaction(self) -> None:
        with transaction.atomic():
            connection.cursor().execute("INSERT INTO toil VALUES (1)")
            say("inserted")
            time.sleep(600)

    def writes(self) -> None:
        """Says who has the database open, this process and the one before it, and then writes to it."""
        file = os.environ["GRACEFUL_TEST_DB"]
        for pid in (os.getpid(), os.getppid()):
            found = (os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd") if _there(pid, fd))
            say("open", sum(name == file for name in found))
        connection.cursor().execute("INSERT INTO toil VALUES (3)")

    def hooks(self) -> None:
        lifecycle.at_shutdown(lambda: say("at_shutdown"))
        lifecycle.at_hammer(lambda: say("at_hammer"))
        lifecycle.at_terminate(lambda: say("at_terminate"))
        say("hooked")
        time.sleep(600)
