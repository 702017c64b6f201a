"""How the demo runs and stops its programs, shown with small ones."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.process

#: Runs the given programs, says what they say, and "ready" when each has said "up". Its last line is the verdict.
SUPERVISE = """
import os, signal, sys
from testproject.demo.children import Program
from testproject.demo.supervisor import Supervisor

up = set()
def say(program, line):
    if line == "up":
        up.add(program.name)
    print(program.name if program else "demo", line, flush=True)

programs = [Program(name, [sys.executable, "-uc", code], 31) for name, code in zip(sys.argv[1::2], sys.argv[2::2])]
with Supervisor(say) as supervisor:
    good = supervisor.run(programs, os.environ, lambda: len(up) == len(programs), lambda: print("ready", flush=True))
print("good" if good else "bad", flush=True)
"""

#: Ends on TERM after it has said so.
OBEDIENT = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
print("up")
signal.sigwait([signal.SIGTERM])
print("bye")
"""

#: Needs a TERM and an INT.
SLOW = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
print("up")
signal.sigwait([signal.SIGTERM])
print("soon")
signal.sigwait([signal.SIGINT])
print("now")
"""

#: Hears nothing; it has a child that neither does.
DEAF = """
import signal, subprocess, sys
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
print("child", child.pid)
print("up")
signal.pause()
"""

#: Ends by itself once it gets USR1, and leaves a child behind.
FRAIL = """
import os, signal, subprocess, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], stdout=subprocess.DEVNULL)
print("child", child.pid)
print("pid", os.getpid())
print("up")
signal.sigwait([signal.SIGUSR1])
print("half a line", end="")
sys.exit(3)
"""


class Run:
    """A supervisor in a process of its own, and what it says."""

    def __init__(self, programs: dict[str, str]) -> None:
        arguments = [part for name, code in programs.items() for part in (name, textwrap.dedent(code))]
        self.process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISE, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        self.said: list[str] = []

    def until(self, line: str) -> str:
        """Read on until a line matches; the match's last group."""
        assert self.process.stdout is not None
        for found in self.process.stdout:
            self.said.append(found.rstrip("\n"))
            match = re.fullmatch(line, self.said[-1])
            if match:
                return match[match.lastindex or 0]
        raise AssertionError(f"never said {line!r}: {self.said}")

    def end(self) -> list[str]:
        """What it says from here to its end."""
        assert self.process.stdout is not None
        rest = self.process.stdout.read().splitlines()
        assert self.process.wait(20) == 0
        return rest

    def close(self) -> None:
        """End what is left of it."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def supervise() -> Iterator[Callable[..., Run]]:
    """Runs programs, by name."""
    runs: list[Run] = []

    def start(**programs: str) -> Run:
        runs.append(Run(programs))
        return runs[-1]

    yield start
    for run in runs:
        run.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_programs_are_stopped_one_after_the_other_in_their_order(number: int, supervise: Callable[..., Run]) -> None:
    run = supervise(web=OBEDIENT, runner=OBEDIENT, mail=OBEDIENT)
    run.until("ready")
    run.process.send_signal(number)
    assert run.end() == [
        "demo Stopping. What runs may finish; once more hastens it.",
        *("web bye", "demo web has stopped."),
        *("runner bye", "demo runner has stopped."),
        *("mail bye", "demo mail has stopped."),
        "good",
    ]


def test_a_second_signal_hastens_what_is_being_stopped_and_what_comes_after_it(supervise: Callable[..., Run]) -> None:
    run = supervise(web=SLOW, runner=SLOW)
    run.until("ready")
    run.process.send_signal(signal.SIGINT)
    run.until("web soon")
    run.process.send_signal(signal.SIGINT)
    assert run.end() == [
        "demo Hastening. Once more kills what is left.",
        *("web now", "demo web has stopped."),
        *("runner soon", "runner now", "demo runner has stopped."),
        "good",
    ]


def test_a_third_signal_kills_what_is_left_with_its_children(supervise: Callable[..., Run]) -> None:
    run = supervise(web=DEAF)
    child = int(run.until(r"web child (\d+)"))
    run.until("ready")
    for line in ("demo Stopping.*", "demo Hastening.*", "demo web has ended by SIGKILL."):
        run.process.send_signal(signal.SIGINT)
        run.until(line)
    assert run.end() == ["good"]
    assert is_gone(child)


def test_a_program_that_ends_by_itself_is_reported_and_stops_the_others(supervise: Callable[..., Run]) -> None:
    run = supervise(web=OBEDIENT, runner=FRAIL, mail=OBEDIENT)
    child = int(run.until(r"runner child (\d+)"))
    frail = int(run.until(r"runner pid (\d+)"))
    run.until("ready")
    os.kill(frail, signal.SIGUSR1)
    said = run.end()
    assert said[:2] == [
        "runner half a line",
        "demo runner has ended unexpectedly, with exit code 3. Stopping everything.",
    ]
    assert said[2:] == ["web bye", "demo web has stopped.", "mail bye", "demo mail has stopped.", "bad"]
    assert is_gone(child)


def test_when_the_demo_is_killed_its_programs_are_told_to_stop(supervise: Callable[..., Run]) -> None:
    run = supervise(web=OBEDIENT, runner=OBEDIENT)
    run.until("ready")
    children = psutil.Process(run.process.pid).children()
    run.process.kill()
    gone, alive = psutil.wait_procs(children, timeout=10)
    assert len(gone) == 2
    assert not alive


def is_gone(pid: int) -> bool:
    """Whether that process has ended; waits a moment for the kernel and for whoever reaps it."""
    try:
        psutil.Process(pid).wait(10)
    except psutil.NoSuchProcess:
        return True
    return not psutil.pid_exists(pid)
