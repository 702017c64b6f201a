"""Processes other than gunicorn's: scripts, commands, runners, children of ``multiprocessing``, a server of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from django_graceful.items import State
from django_graceful.stores.base import Found
from tests.gunicorn.server import ROOT
from tests.harness import PATIENCE, until
from tests.spill.test_servers import on_disk

pytestmark = pytest.mark.process

SETUP = """
import os, pathlib, sys, time
import django
django.setup()
from tests.spill.queues import polite, say, work
from tests.spill import queues

def runs():
    said = pathlib.Path(os.environ["GRACEFUL_TEST_PLACE"], "said")
    while "running" not in said.read_text():
        time.sleep(0.01)
"""


class Place:
    """A site's directory, and the processes of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.spill.settings", "GRACEFUL_TEST_PLACE": str(path)}
        self.env |= {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, *arguments], env=self.env, cwd=ROOT, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
            text=True,
        )  # fmt: skip
        self._started.append(process)
        return process

    def script(self, body: str) -> subprocess.Popen[str]:
        return self.start("-c", SETUP + body)

    def words(self, word: str) -> list[str]:
        """What was said after that word."""
        with suppress(FileNotFoundError):
            lines = (self.path / "said").read_text().splitlines()
            return [line.split()[1] for line in lines if line.startswith(f"{word} ")]
        return []

    def said(self, word: str, times: int = 1) -> list[str]:
        until(lambda: len(self.words(word)) >= times, f"{times} times {word!r}")
        return self.words(word)

    def disk(self) -> dict[str, Found]:
        return on_disk(self.path)

    def cleanup(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.wait()
            assert process.stderr is not None
            process.stderr.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path)
    yield found
    found.cleanup()


def ended(process: subprocess.Popen[str]) -> str:
    """Wait for its orderly end; what it said on stderr."""
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    return errors


def complete(place: Place) -> tuple[set[str], set[str]]:
    """Each item that was pushed is done or on disk, and none is both; the two."""
    pushed, done, disk = place.words("pushed"), place.words("done"), place.disk()
    assert pushed
    assert sorted([*done, *disk]) == sorted(pushed)
    return {*done}, {*disk}


def test_a_script_that_ends_hands_over_what_it_has(place: Place) -> None:
    errors = ended(place.script("""
for _ in range(4): say("pushed", polite.push())
for _ in range(50): say("pushed", work.push({"seconds": 0}))
runs()
"""))  # fmt: skip
    _, disk = complete(place)
    assert len(disk) >= 4
    assert {found.item.attempt for found in place.disk().values()} == {0}
    assert "Traceback" not in errors


def test_what_runs_when_a_script_ends_may_end_if_that_is_soon(place: Place) -> None:
    ended(place.script("""
say("pushed", work.push({"seconds": 0.3}))
runs()
"""))  # fmt: skip
    done, _ = complete(place)
    assert len(done) == 1


@pytest.mark.parametrize(
    "end", ["raise ValueError", "sys.exit(3)", "os.kill(os.getpid(), __import__('signal').SIGINT)"]
)
def test_so_does_one_that_fails(place: Place, end: str) -> None:
    process = place.script(f"for _ in range(20): say('pushed', work.push(dict(seconds=60)))\n{end}")
    process.communicate(timeout=PATIENCE)
    assert process.returncode
    assert len(complete(place)[1]) == 20


def test_ctrl_c_while_it_waits_for_its_jobs_cuts_that_short(place: Place) -> None:
    process = place.script("""
import atexit
say("pushed", work.push({"seconds": 60}))
runs()
atexit.register(lambda: say("ends", 1))
""")
    place.said("ends")
    process.send_signal(signal.SIGINT)
    ended(process)
    assert len(complete(place)[1]) == 1


def test_an_async_script_too(place: Place) -> None:
    ended(place.script("""
import asyncio
async def main():
    for _ in range(20): say("pushed", await work.apush({"seconds": 60}))
asyncio.run(main())
"""))  # fmt: skip
    assert len(complete(place)[1]) == 20


def test_a_child_of_multiprocessing_keeps_nothing_in_memory(place: Place) -> None:
    ended(place.script("""
import multiprocessing
def child(): say("pushed", work.push({"seconds": 60}))
process = multiprocessing.get_context("fork").Process(target=child)
process.start()
process.join()
assert process.exitcode == 0
"""))  # fmt: skip
    assert len(complete(place)[1]) == 1


def test_a_fork_hands_over_its_own_items_and_its_parent_its_own(place: Place) -> None:
    ended(place.script("""
import warnings
warnings.simplefilter("ignore")
say("pushed", work.push({"seconds": 60}))
pid = os.fork()
for _ in range(3): say("pushed", work.push({"seconds": 60}))
if pid: assert os.waitpid(pid, 0)[1] == 0
"""))  # fmt: skip
    assert len(complete(place)[1]) == 7


def test_a_signal_handler_that_pushes_in_the_middle_of_pushes_loses_nothing(place: Place) -> None:
    ended(place.script("""
import signal
pushed = []
def handler(*arguments):
    pushed.append(work.push({"seconds": 0}))
    signal.setitimer(signal.ITIMER_REAL, 0.001)
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.001)
end = time.monotonic() + 2
while time.monotonic() < end:
    pushed.append(work.push({"seconds": 0}))
    if len(pushed) % 50 == 0: time.sleep(0.01)
signal.signal(signal.SIGALRM, signal.SIG_IGN)
for item in pushed: say("pushed", item)
"""))  # fmt: skip
    complete(place)
    assert len(place.words("pushed")) > 200


def test_jobs_of_a_runner_push_to_the_disk_and_the_runner_does_it(place: Place) -> None:
    process = place.script("""
from django_graceful import spill
spill.refuse()
queues.pushes.push()
""")
    ended(process)
    runner = place.start("-m", "django", "runqueues")
    [pushed] = place.said("pushed")
    assert place.said("done") == [pushed]
    runner.terminate()
    runner.communicate(timeout=PATIENCE)
    assert place.disk() == {}


def test_a_job_that_was_handed_over_is_seen_and_cancelled_where_it_runs(place: Place) -> None:
    ended(place.script('say("pushed", work.push({"seconds": 60}))\nruns()'))
    [item] = place.words("pushed")
    runner = place.start("-m", "django", "runqueues")
    place.said("running", 2)
    looks = place.script("""
from django_graceful import nodes
row = [row for node in nodes.running() for row in node["processes"] if row["kind"] == "job"][0]
say("row", row["id"].partition(".")[0])
say("reply", nodes.cancel(row["id"]))
""")
    ended(looks)
    assert (place.words("row"), place.words("reply")) == (["default"], ["asked"])
    runner.terminate()
    runner.communicate(timeout=PATIENCE)
    assert place.disk()[item].state is State.CANCELLED


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def fetch(port: int, path: str) -> Callable[[], bool]:
    def attempt() -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            return b" 200 " in connection.recv(100)
        return False

    return attempt


def test_uvicorn_alone_hands_over_by_the_lifespan_of_its_application(place: Place) -> None:
    port = free_port()
    (place.path / "served.py").write_text(
        "from django.core.asgi import get_asgi_application\n"
        "from django_graceful.spill.lifespan import Lifespan\n"
        "application = Lifespan(get_asgi_application())\n"
    )
    arguments = ["--app-dir", str(place.path), "--port", str(port), "--lifespan", "on", "--log-level", "warning"]
    server = place.start("-W", "ignore", "-m", "uvicorn", *arguments, "served:application")
    until(fetch(port, "/push?n=5&seconds=0"), "the first answer")
    place.said("done", 5)
    until(fetch(port, "/push?n=9&seconds=60"), "the second answer")
    server.terminate()
    _, errors = server.communicate(timeout=PATIENCE)
    assert "Traceback" not in errors
    assert len(complete(place)[1]) == 9
