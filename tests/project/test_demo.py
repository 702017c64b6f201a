"""`make demo`, for real: in a copy of the checkout below a path with a space, driven over HTTP, stopped with Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
#: Generous: the machine may be busy. Seconds.
PATIENCE = 60
pytestmark = [pytest.mark.process, pytest.mark.timeout(4 * PATIENCE)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(look: Callable[[], Any]) -> Any:
    """What ``look`` gives as soon as it gives anything."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"{look} found nothing in {PATIENCE} seconds")


class Visitor:
    """A browser, as far as cookies and forms go."""

    def __init__(self, port: int) -> None:
        self._site = f"http://localhost:{port}"
        self._opener = build_opener(HTTPCookieProcessor(CookieJar()))

    def get(self, page: str) -> str:
        with self._opener.open(self._site + page, timeout=PATIENCE) as answer:
            return str(answer.read().decode())

    def send(self, page: str, data: dict[str, str], to: str | None = None) -> str:
        """Fill in the form on ``page`` and send it."""
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', self.get(page))
        assert token
        body = urlencode({**data, "csrfmiddlewaretoken": token[1]}).encode()
        with self._opener.open(self._site + (to or page), body, timeout=PATIENCE) as answer:
            return str(answer.read().decode())

    def jobs(self) -> list[tuple[str, bool]]:
        """State of each job, and whether it has got anywhere."""
        return [(job["state"], job["percent"] > 0) for job in json.loads(self.get("/work/state.json"))["jobs"]]


class Demo:
    """`make demo` as a terminal runs it: the foreground process group of a session of its own."""

    def __init__(self, checkout: Path, port: int) -> None:
        self._checkout = checkout
        env = {key: value for key, value in os.environ.items() if not key.startswith(("DJANGO_", "LICHTWAND_", "MAKE"))}
        self._process = subprocess.Popen(
            ["make", "demo"],
            cwd=checkout,
            env={**env, "PORT": str(port)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.said: list[str] = []

    def until(self, words: str) -> str:
        """Read on until a line has those words in it; that line."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.said.append(line.rstrip())
            if words in line:
                return self.said[-1]
        raise AssertionError(f"never said {words!r}:\n" + "\n".join(self.said))

    def press_ctrl_c(self) -> None:
        os.killpg(self._process.pid, signal.SIGINT)

    def wait(self) -> str:
        """The output from here to the end."""
        rest, _ = self._process.communicate(timeout=PATIENCE)
        return rest

    def processes(self) -> list[str]:
        """The command line of each process that works in the checkout."""
        found = []
        for process in psutil.process_iter(["cwd", "cmdline", "status"]):
            if process.info["cwd"] == str(self._checkout) and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(shlex.join(process.info["cmdline"]))
        return found

    def close(self) -> None:
        """After a failed test: kill what is left; the programs end with the demo."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy that takes the interpreter of this test for its environment, so that nothing is installed."""
    copy = tmp_path / "a check out"
    for name in ("django_graceful", "testproject"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "var"))
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, copy)
    python = copy / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    (copy / ".venv/has-demo").touch()
    return copy


@pytest.fixture
def make_demo(checkout: Path) -> Iterator[Callable[[int], Demo]]:
    demos: list[Demo] = []

    def start(port: int) -> Demo:
        demos.append(Demo(checkout, port))
        return demos[-1]

    yield start
    for demo in demos:
        demo.close()


def test_the_demo_delivers_mail_stops_gracefully_and_goes_on_at_its_next_start(
    make_demo: Callable[[int], Demo], checkout: Path
) -> None:
    port = free_port()
    visitor = Visitor(port)
    demo = make_demo(port)
    demo.until(f"Lichtwand is open:  http://localhost:{port}/")
    password = demo.until("The admin:").rsplit(" / ", 1)[1]
    assert password == (checkout / "var/admin-password").read_text()

    visitor.send("/newsletter/", {"email": "you@example.com"})
    eventually(lambda: "you@example.com" in visitor.get("/outbox/"))
    assert "Welcome to Lichtwand" in visitor.get("/outbox/")
    visitor.send("/admin/login/", {"username": "admin", "password": password, "next": "/newsletter/"})
    assert "Send to 251 subscribers" in visitor.get("/newsletter/")

    visitor.send("/work/", {"kind": "slow"}, to="/work/push/")
    eventually(lambda: visitor.jobs() == [("running", True)])
    demo.press_ctrl_c()
    demo.until("draining: no new work is taken")
    demo.press_ctrl_c()
    rest = demo.wait()
    assert "demo │ web has stopped.\n     demo │ mail has stopped.\n" in rest
    assert "1 waiting item is kept in var/graceful for the next start." in rest
    assert demo.processes() == []

    again = make_demo(port)
    again.until("Lichtwand is open:")
    eventually(lambda: visitor.jobs() == [("running", True)])
    again.press_ctrl_c()
    again.until("draining: no new work is taken")
    again.press_ctrl_c()
    assert "web has stopped." in again.wait()
    assert again.processes() == []


def test_a_port_that_is_taken_is_named_and_nothing_is_started(make_demo: Callable[[int], Demo], checkout: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        demo = make_demo(port)
        assert f"Port {port} is taken by another program." in demo.wait()
    assert not (checkout / "var").exists()
