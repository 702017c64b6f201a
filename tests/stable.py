"""Runners without the cost of starting one: a process with Django set up forks a master for each order.

``python -m tests.stable`` obeys lines of JSON on standard input and tells on standard output which pid a master has
and how it ended. A master forked here is what ``manage.py runqueues --strict-exit`` would be after Django's setup:
leader of a session, with its log in a file; started again in place (HUP) it is the command itself.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

import psutil

from tests.harness import PATIENCE, until

ARGUMENTS = ("runqueues", "--strict-exit")


class Stable:
    """The forking process, seen from a test."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.stable"],
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
            cwd=Path(__file__).resolve().parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid
        self._pids: list[int] = []
        self._ends: dict[int, int] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def start(self, env: dict[str, str], log: Path, hold: Path | None = None) -> Mount:
        """A new master. While the file ``hold`` exists, it does not get beyond the opening of its stores."""
        assert self._process.stdin is not None
        self._pids.clear()
        log.touch()
        self._process.stdin.write(json.dumps({"env": env, "log": str(log), "hold": hold and str(hold)}) + "\n")
        self._process.stdin.flush()
        pid = until(lambda: self._pids and self._pids[0], "a master to be forked")
        return Mount(pid, log, self._ends)

    def close(self) -> None:
        """End it; its masters must have ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told = json.loads(line)
            if "status" in told:
                self._ends[told["pid"]] = told["status"]
            else:
                self._pids.append(told["pid"])


class Mount:
    """One master."""

    def __init__(self, pid: int, log: Path, ends: dict[int, int]) -> None:
        self.pid = pid
        self._log = log
        self._ends = ends

    @property
    def log(self) -> list[str]:
        """Its log so far."""
        return self._log.read_text().splitlines()

    def says(self, text: str, times: int = 1) -> str:
        """Wait until so many lines of the log have ``text`` in them; the last of them."""

        def look() -> str | None:
            found = [line for line in self.log if text in line]
            if len(found) < times and self.pid in self._ends:
                raise AssertionError(f"the runner ended ({self._ends[self.pid]}) without saying {text!r}")
            return found[-1] if len(found) >= times else None

        try:
            return str(until(look, f"the runner to say {text!r}"))
        except AssertionError as error:
            raise AssertionError(f"{error}\n" + "\n".join(self.log)) from None

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def end(self, patience: float = PATIENCE) -> int:
        """Wait for the end; the exit code, or minus the signal's number."""
        try:
            until(lambda: self.pid in self._ends, "the runner to end", patience)
        except AssertionError as error:
            raise AssertionError(f"{error}\n" + "\n".join(self.log)) from None
        return self._ends[self.pid]

    def family(self) -> list[psutil.Process]:
        """The master and everything below it."""
        master = psutil.Process(self.pid)
        return [master, *master.children(recursive=True)]


def _become_master(order: dict[str, Any]) -> NoReturn:
    from django.conf import settings
    from django.test import override_settings

    from django_graceful.runner import master
    from django_graceful.runner.console import show_log
    from django_graceful.runner.orders import Orders

    code = 70
    try:
        os.setsid()
        _redirect(order["log"])
        os.environ.update(order["env"])
        sys.orig_argv = [sys.executable, "-m", "django", *ARGUMENTS]
        stores = {"default": {"BACKEND": "leveldb", "PATH": order["env"]["GRACEFUL_TEST_STORE"]}}
        extra = json.loads(order["env"].get("GRACEFUL_TEST_EXTRA", "{}"))
        override_settings(GRACEFUL={**settings.GRACEFUL, "STORES": stores, **extra}).enable()
        if order["hold"]:
            _hold(master, Path(order["hold"]))
        show_log()
        code = master.run(Orders(strict_exit=True))
    finally:
        os._exit(code)


def _redirect(log: str) -> None:
    fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, nothing), (1, fd), (2, fd)):
        os.dup2(source, target)


def _hold(master: Any, file: Path) -> None:
    real = master.Estate

    def slow(*arguments: Any) -> Any:
        print("opening the stores", flush=True)
        end = time.monotonic() + PATIENCE
        while file.exists() and time.monotonic() < end:
            time.sleep(0.005)
        return real(*arguments)

    master.Estate = slow


def serve() -> None:
    """Obey until standard input ends."""
    import django

    django.setup()
    importlib.import_module("django_graceful.runner.master")
    children: dict[int, int] = {}  # pidfd → pid
    poll = select.poll()
    poll.register(0, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd in children:
                pid = children.pop(fd)
                poll.unregister(fd)
                os.close(fd)
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                print(json.dumps({"pid": pid, "status": status}), flush=True)
                continue
            line = sys.stdin.readline()
            if not line:
                return
            pid = os.fork()
            if pid == 0:
                for other in children:
                    os.close(other)
                _become_master(json.loads(line))
            pidfd = os.pidfd_open(pid)
            children[pidfd] = pid
            poll.register(pidfd, select.POLLIN)
            print(json.dumps({"pid": pid}), flush=True)


if __name__ == "__main__":
    serve()
