"""A ``GracefulCommand`` at a terminal: prompts, Ctrl-C, and a terminal that goes away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.commands.toil.conftest import STRICT
from tests.harness import PATIENCE, Site, until

pytestmark = pytest.mark.process


class Terminal:
    """One command as the leader of a session with a terminal of its own."""

    def __init__(self, site: Site, *arguments: str) -> None:
        self._master, slave = os.openpty()
        os.set_blocking(self._master, False)
        command = ["setsid", "--ctty", sys.executable, *STRICT, "-m", "django", "toil", *arguments]
        self.process = subprocess.Popen(command, env=site.env, cwd=site.root, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        self._shown = ""

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    @property
    def shown(self) -> str:
        """All that it has shown so far."""
        try:
            while data := os.read(self._master, 4096):
                self._shown += data.decode()
        except (BlockingIOError, OSError):  # nothing more yet, or nobody has it open any more
            pass
        return self._shown

    def shows(self, text: str) -> None:
        until(lambda: text in self.shown, f"{text!r} in {self._shown!r}")

    def end(self) -> int:
        code = self.process.wait(PATIENCE)
        assert self.shown is not None
        return code

    def hang_up(self) -> None:
        os.close(self._master)
        self._master = -1

    def cleanup(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)
        if self._master >= 0:
            self.hang_up()


@pytest.fixture
def terminal(site: Site) -> Iterator[Callable[..., Terminal]]:
    started: list[Terminal] = []

    def start(*arguments: str) -> Terminal:
        started.append(Terminal(site, *arguments))
        return started[-1]

    yield start
    for found in started:
        found.cleanup()


def test_a_prompt_is_answered(terminal: Callable[..., Terminal]) -> None:
    running = terminal("asks")
    running.shows("who? ")
    running.type("ada\n")
    assert running.end() == 0
    assert "hello ada" in running.shown


def test_control_c_stops_a_loop_at_its_safe_point_as_one_signal(terminal: Callable[..., Terminal], site: Site) -> None:
    running = terminal("loop")
    site.said("begin")
    running.type("\x03")
    assert running.end() == 128 + signal.SIGINT
    assert site.lines()[1:] == ["cancelled shutdown", "cleanup"]
    assert "Traceback" not in running.shown
    assert "after SIGINT" in running.shown.splitlines()[-1]


def test_control_c_at_a_prompt_says_what_a_second_one_does(terminal: Callable[..., Terminal], site: Site) -> None:
    running = terminal("asks")
    running.shows("who? ")
    running.type("\x03")
    running.shows("toil: SIGINT: stops at its next safe point, in 25 s at the latest; again: at once")
    running.type("\x03")
    assert running.end() == 130
    assert site.lines()[1:] == ["cancelled shutdown", "cleanup"]


def test_a_prompt_survives_a_first_control_c(terminal: Callable[..., Terminal]) -> None:
    running = terminal("asks")
    running.shows("who? ")
    running.type("\x03")
    running.shows("again: at once")
    running.type("ada\n")
    assert running.end() == 0
    assert "hello ada" in running.shown


def test_a_backslash_with_control_hammers(terminal: Callable[..., Terminal], site: Site) -> None:
    running = terminal("sleep")
    site.said("begin")
    running.type("\x1c")
    assert running.end() == 128 + signal.SIGQUIT
    assert site.lines()[1:] == ["cancelled shutdown", "cleanup"]


def test_a_terminal_that_goes_away_stops_it_at_its_safe_point(terminal: Callable[..., Terminal], site: Site) -> None:
    running = terminal("loop")
    site.said("begin")
    running.hang_up()
    assert running.end() == 128 + signal.SIGHUP
    assert site.lines()[1:] == ["cancelled shutdown", "cleanup"]
