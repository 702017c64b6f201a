"""Every signal in every situation: exit code, bounded time, no process left (by session, and by environment for what
left its session), items and attempts as promised, and a summary line that is true.

What a signal does to the first item follows from two tables, :data:`JOBS` and :func:`verdicts`; all else is the same
for every cell.
"""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from django_graceful.items import State
from django_graceful.stores import get_store
from tests.harness import Site, until
from tests.site import queues
from tests.stable import Mount, Stable

pytestmark = pytest.mark.process

HAMMER_AFTER, KILL_AFTER = 0.4, 0.2
EXTRA = {"GRACEFUL_TEST_EXTRA": f'{{"HAMMER_AFTER": {HAMMER_AFTER}, "KILL_AFTER": {KILL_AFTER}}}'}
#: Promise P4.
LONGEST = HAMMER_AFTER + KILL_AFTER + 5

SIGNALS = (
    *("TERM", "INT", "QUIT", "HUP", "USR2", "TSTP+CONT", "KILL of master", "KILL of worker"),
    *("TERM twice", "TERM thrice"),
)
#: A command that ignores TERM, with a grandchild of the same kind in a session of its own; it speaks when it is there.
DEAF_FAMILY = """
trap '' TERM
setsid sh -c 'trap "" TERM; echo deaf >>"$GRACEFUL_TEST_OUT"; sleep 600' </dev/null >/dev/null 2>&1 &
while :; do sleep 0.1; done
"""
#: Situation → the queue, and the payload of the item that runs.
JOBS: dict[str, tuple[Any, dict[str, Any]]] = {
    "idle": (queues.single, {"seconds": 0}),
    "items waiting": (queues.single, {"seconds": 0.2}),
    "short job": (queues.single, {"seconds": 0.2}),
    "job beyond the limits": (queues.single, {"seconds": 60}),
    "job that swallows every exception": (queues.stubborn, {}),
    "job in C": (queues.stuck, {"gil": False}),
    "job in C with the interpreter's lock": (queues.stuck, {"gil": True}),
    "job with a deaf grandchild": (queues.command, {"argv": ["sh", "-c", DEAF_FAMILY]}),
    "during start": (queues.single, {"seconds": 0}),
    "during shutdown": (queues.single, {"seconds": 60}),
}
DEAF = ("job that swallows every exception", "job in C", "job in C with the interpreter's lock")
LASTING = ("job beyond the limits", "job with a deaf grandchild", "during shutdown", *DEAF)
CELLS = [
    (name, situation)
    for name in SIGNALS
    for situation in JOBS
    if (name, situation) != ("KILL of worker", "during start")  # there is none yet
]

DONE, INTERRUPTED, KILLED, CRASHED, UNTOUCHED = "done", "interrupted", "killed", "crashed", "untouched"


def lives_on(name: str, situation: str) -> bool:
    """Whether there is a runner afterwards: the same, or (KILL of master) the next. It gets QUIT in the end."""
    if name in ("HUP", "TSTP+CONT", "KILL of worker"):
        return situation != "during shutdown"
    return name == "KILL of master"


def verdicts(name: str, situation: str) -> set[str]:
    """What may have become of the first item in the end."""
    if situation not in LASTING and (situation == "idle" or lives_on(name, situation)):
        return {DONE}
    if situation == "during start":  # the signal waits until the loop runs; what may begin before it is a race
        return {DONE, UNTOUCHED, INTERRUPTED}
    if name == "KILL of worker" and situation == "during shutdown":
        return {CRASHED}
    if situation in DEAF:
        return {KILLED}
    if situation == "job with a deaf grandchild" and not name.startswith("KILL of w"):
        return {INTERRUPTED, KILLED}  # half of the time until the kill is for the family: it may be all that is left
    if name == "TERM thrice" or (name == "TERM twice" and situation == "during shutdown"):
        return {INTERRUPTED, KILLED}
    if situation in LASTING or name in ("QUIT", "USR2", "TERM twice"):
        return {INTERRUPTED}
    return {DONE}


@dataclass
class Cell:
    """One runner that got one signal in one situation."""

    site: Site
    stable: Stable
    name: str
    situation: str
    ids: list[str] = field(default_factory=list)
    sessions: set[int] = field(default_factory=set)
    logs: list[Path] = field(default_factory=list)
    runner: Mount = field(init=False)

    def start(self, hold: Path | None = None) -> Mount:
        self.logs.append(self.site.store.parent / f"log{len(self.logs)}")
        self.runner = self.stable.start(self.site.env | EXTRA, self.logs[-1], hold)
        return self.runner

    def begin(self) -> None:
        """Bring a runner into the situation."""
        queue, payload = JOBS[self.situation]
        more = 4 if self.situation == "items waiting" else 0
        self.ids = queue.push_many([payload | {"n": 0}, *({"n": n, "seconds": 0} for n in range(1, more + 1))])
        if self.situation == "during start":
            hold = self.site.store.parent / "hold"
            hold.touch()
            self.start(hold).says("opening the stores")
            return
        self.start().says(" serves ")
        self.site.said("end 0" if self.situation == "idle" else "start 0")
        if self.situation == "idle":
            self.runner.says(" done in ")
        if self.situation == "job with a deaf grandchild":
            self.site.said("deaf")
        if self.situation == "during shutdown":
            self.runner.send(signal.SIGTERM)
            self.runner.says("draining")

    def strike(self) -> None:
        """Send the signal."""
        self.sessions |= sessions(self.runner)
        if self.name == "KILL of worker":
            server = psutil.Process(self.runner.pid).children()[0]
            server.children()[0].kill()
        elif self.name == "TSTP+CONT":
            self.runner.send(signal.SIGTSTP)
            if self.situation not in ("during start", "during shutdown"):
                self.runner.says("quiet")
            self.runner.send(signal.SIGCONT)
        elif self.name.startswith("TERM"):
            for _ in range({"TERM": 1, "TERM twice": 2, "TERM thrice": 3}[self.name]):
                self.runner.send(signal.SIGTERM)
                time.sleep(0.005)
        else:
            self.runner.send(signal.Signals[f"SIG{self.name.split()[0]}"])
        (self.site.store.parent / "hold").unlink(missing_ok=True)

    def taken(self) -> int:
        """How many TERM have arrived: the kernel keeps only one that nobody has had the time to take."""
        return sum("SIGTERM received" in line for line in self.runner.log)

    def go_on(self) -> None:
        """There is a runner, and it works: what was begun is run again, what waits is handled, what comes, too."""
        if self.name == "KILL of master":
            assert self.end() == -signal.SIGKILL
            self.start().says(" serves ")
        elif self.name == "HUP":
            again = self.runner.says(" serves ", times=2)
            assert f"runner {self.runner.pid} " in again
        self.sessions |= sessions(self.runner)
        after = queues.record.push("after")
        self.site.said("record after")
        with get_store().admin() as admin:
            until(lambda: admin.get(after) is None, "its end to be written down")
        if self.situation in LASTING:
            times = 1 if self.name == "TSTP+CONT" else 2
            until(lambda: [line.split()[:2] for line in self.site.lines()].count(["start", "0"]) == times, "its run")
        else:
            for n in range(len(self.ids)):
                self.site.said(f"end {n}")

    def end(self) -> int:
        """Wait for the end of it and of everything below it, in time; the exit code."""
        code = self.runner.end(LONGEST)
        until(lambda: not left_over(self), "every process to be gone", 5)
        return code

    def found(self) -> list[tuple[State, int, int] | None]:
        """State, attempts and crashes of the items; None is gone."""
        with get_store().admin(alone=True) as admin:
            items = [admin.get(item) for item in self.ids]
        return [(f.state, f.item.attempt, f.item.crashes) if f else None for f in items]


def sessions(runner: Mount) -> set[int]:
    """The sessions of the runner's processes: its own, its fork server's, and theirs below."""
    found = set()
    for process in runner.family():
        with suppress(ProcessLookupError):
            found.add(os.getsid(process.pid))
    return found


def left_over(cell: Cell) -> list[int]:
    """The processes that are still in one of these sessions, or have the file of this test in their environment."""
    found = []
    for pid in psutil.pids():
        with suppress(ProcessLookupError, psutil.NoSuchProcess, psutil.AccessDenied):
            process = psutil.Process(pid)
            ours = os.getsid(pid) in cell.sessions or process.environ().get("GRACEFUL_TEST_OUT") == str(cell.site.out)
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
    return found


def summaries(cell: Cell) -> list[dict[str, int]]:
    """The numbers of the summary lines, by word; ``waiting`` is what is left."""
    found = []
    for line in "\n".join(path.read_text() for path in cell.logs).splitlines():
        if "stopped after" in line:
            counted, _, left = line.partition("; ")
            numbers = {word: int(n) for n, word in re.findall(r"(\d+) ([a-z ]+?)(?:,|$)", counted.partition(": ")[2])}
            found.append(numbers | {"waiting": sum(int(n) for n in re.findall(r"(\d+) waiting", left))})
    return found


@pytest.mark.parametrize(("name", "situation"), CELLS, ids=[f"{name} - {situation}" for name, situation in CELLS])
def test_the_promises_hold(site: Site, stable: Stable, name: str, situation: str) -> None:
    cell = Cell(site, stable, name, situation)
    cell.begin()
    cell.strike()
    if lives_on(name, situation):
        cell.go_on()
        cell.runner.send(signal.SIGQUIT)
    code = cell.end()
    first, *rest = cell.found()
    counted = summaries(cell)
    verdict = the_verdict(first, counted[-1])
    merged = {DONE} if name.startswith("TERM t") and cell.taken() < 2 else set()
    assert verdict in verdicts(name, situation) | merged, cell.runner.log
    assert code == {KILLED: 4, INTERRUPTED: 3}.get(verdict, 0), cell.runner.log
    crashes = int(name.startswith("KILL") and situation in LASTING)
    assert first in (None, (State.WAITING, 0, crashes))
    assert set(rest) <= {None if lives_on(name, situation) else (State.WAITING, 0, 0)}
    check_summary(cell, counted, [first, *rest])


def the_verdict(first: tuple[State, int, int] | None, last: dict[str, int]) -> str:
    """What became of the first item, from the store and the last summary line."""
    if first is None:
        return DONE
    for word in (KILLED, INTERRUPTED, CRASHED):
        if last.get(word):
            return word
    return UNTOUCHED


def check_summary(cell: Cell, counted: list[dict[str, int]], items: list[Any]) -> None:
    """The summary lines tell what has happened."""
    assert counted[-1]["waiting"] == len(items) - items.count(None)
    if cell.name != "KILL of master":  # which took its numbers along
        after = lives_on(cell.name, cell.situation)
        assert sum(numbers["done"] for numbers in counted) == items.count(None) + after
        killed = cell.name == "KILL of worker" and cell.situation in LASTING
        assert sum(numbers.get("crashed", 0) for numbers in counted) == killed or cell.situation not in LASTING
    assert len(counted) == 2 if cell.name == "HUP" and cell.situation != "during shutdown" else len(counted) == 1
