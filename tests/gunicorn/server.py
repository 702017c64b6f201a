"""A real gunicorn for tests: start, ask, stop, and see what is left of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import psutil

from tests.harness import PATIENCE, until

ROOT = Path(__file__).resolve().parents[2]
#: Not ``-m gunicorn``: what USR2 starts again would have gunicorn's directory first in its path, with its ``http``.
PROGRAM = str(Path(sysconfig.get_path("scripts"), "gunicorn"))
CLASSES = {
    "sync": "sync",
    "gthread": "gthread",
    "gevent": "gevent",
    "asgi": "asgi",
    "uvicorn": "uvicorn_worker.UvicornWorker",
}
#: A site's own configuration with a hook of every kind, and ours after it.
CONFIGURATION = """
import os

worker_class = os.environ["GRACEFUL_TEST_CLASS"]
threads = 4 if worker_class == "gthread" else 1

def _say(*words):
    print(*words, file=open(os.environ["GRACEFUL_TEST_PLACE"] + "/said", "a"), flush=True)

def on_starting(server): _say("hook on_starting")
def post_fork(server, worker): _say("hook post_fork", worker.pid)
def post_worker_init(worker): _say("hook post_worker_init", worker.pid)
def worker_int(worker): _say("hook worker_int", worker.pid)
def worker_abort(worker): _say("hook worker_abort", worker.pid)
def worker_exit(server, worker): _say("hook worker_exit", worker.pid)
def child_exit(server, worker): _say("hook child_exit", worker.pid)
def on_exit(server): _say("hook on_exit")

from django_graceful.gunicorn import install
install(globals())
"""


@dataclass(slots=True, frozen=True)
class Answer:
    """What a client got. Status 0: the connection ended without an answer."""

    status: int
    text: str
    retry_after: str | None
    seconds: float


class Server:
    """One gunicorn with the site of these tests, and two words of its log that matter: address and pid."""

    def __init__(self, place: Path, kind: str, *arguments: str, graceful: float = 4, **env: str) -> None:
        self.place, self.kind = place, kind
        (place / "conf.py").write_text(CONFIGURATION)
        asynchronous = {"GRACEFUL_TEST_ASGI": "yes"} if kind in ("asgi", "uvicorn") else {}
        given = ["--workers", "1", "--graceful-timeout", f"{graceful:g}"]
        self.process = subprocess.Popen(
            [sys.executable, PROGRAM, "-c", str(place / "conf.py"), "-b", "127.0.0.1:0", *given, *arguments,
             "tests.gunicorn.site:application"],
            cwd=ROOT,
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.gunicorn.settings", "GRACEFUL_TEST_PLACE": str(place),
                 "PYTHONPATH": str(ROOT), "GRACEFUL_TEST_CLASS": CLASSES[kind], **asynchronous, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )  # fmt: skip
        self.log: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port = 0

    def booted(self) -> Server:
        """Wait until its first worker is there."""
        self.port = int(re.findall(r":(\d+) \(", self.logs("Listening at"))[0])
        self.said("hook post_worker_init")
        return self

    @property
    def pid(self) -> int:
        """The arbiter's."""
        return self.process.pid

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line.rstrip())

    def __str__(self) -> str:
        return "\n".join(["--- log", *self.log, "--- said", *self.lines()])

    def logs(self, text: str) -> str:
        """Wait for a line of the log with that text."""
        return str(self._until(lambda: next((line for line in self.log if text in line), None), f"the log: {text}"))

    def lines(self, begin: str = "") -> list[str]:
        """What views and hooks have said that begins so."""
        with suppress(FileNotFoundError):
            return [line for line in (self.place / "said").read_text().splitlines() if line.startswith(begin)]
        return []

    def said(self, begin: str, times: int = 1) -> list[str]:
        """Wait until that was said so often; the lines."""
        self._until(lambda: len(self.lines(begin)) >= times, f"{times} times {begin!r}")
        return self.lines(begin)

    def _until(self, condition: object, what: str) -> object:
        try:
            return until(condition, what)  # type: ignore[arg-type]
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self}") from None

    def worker(self) -> int:
        """The pid of the newest worker."""
        return int(self.lines("hook post_worker_init")[-1].split()[-1])

    def get(self, path: str) -> Answer:
        """Ask, on a connection of its own, and never again."""
        begin = time.monotonic()
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            text = response.read().decode()
            return Answer(response.status, text, response.getheader("Retry-After"), time.monotonic() - begin)
        except (OSError, HTTPException):
            return Answer(0, "", None, time.monotonic() - begin)
        finally:
            connection.close()

    def ask(self, path: str) -> Future[Answer]:
        """Ask, and come back when the view has begun."""
        before, future = len(self.lines("begun")), Future[Answer]()
        threading.Thread(target=lambda: future.set_result(self.get(path)), daemon=True).start()
        self.said("begun", before + 1)
        return future

    def send(self, number: signal.Signals) -> None:
        """A signal to the arbiter."""
        self.process.send_signal(number)

    def end(self) -> int:
        """Wait for the arbiter's end; its exit code."""
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the arbiter does not end\n{self}") from None
        self._reader.join(PATIENCE)
        return code

    def alive(self) -> list[psutil.Process]:
        """Every living process of this server, and all that was started there."""
        token, found = f"GRACEFUL_TEST_PLACE={self.place}", []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.status() != psutil.STATUS_ZOMBIE:
                    environ = Path(f"/proc/{process.pid}/environ").read_text(errors="replace")
                    if token in environ.split("\0"):
                        found.append(process)
        return found

    def commands(self) -> list[psutil.Process]:
        """What views have started and is alive."""
        return [process for process in self.alive() if "DJANGO_GRACEFUL_JOB" in _environ(process)]

    def gone(self, patience: float = 1.0) -> None:
        """Nothing of it is left."""
        try:
            until(lambda: not self.alive(), "all to be gone", patience)
        except AssertionError:
            raise AssertionError(f"left: {self.alive()}\n{self}") from None

    def cleanup(self) -> None:
        for process in self.alive():
            with suppress(psutil.Error):
                process.kill()
        self.process.wait()
        self._reader.join(PATIENCE)
        assert self.process.stderr is not None
        self.process.stderr.close()


def _environ(process: psutil.Process) -> dict[str, str]:
    with suppress(psutil.Error):
        return process.environ()
    return {}
