"""How a subprocess and all that came of it end, and that nobody else does (promise P5)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from django_graceful import Cancelled, Process, ProcessFailed, ProcessTimedOut, descendants, families, process, run
from django_graceful.descendants import VARIABLE, carries, end_marked, find_marked, fresh_mark
from tests.harness import until
from tests.processes.conftest import Aside, Census

pytestmark = pytest.mark.process

DEAF = "trap '' TERM"


def family(name: str, way: str) -> str:
    """A line of shell that leaves a process behind in this way."""
    sleep = f"sh -c '{DEAF if 'deaf' in way else ':'}; sleep 600; : {name}'"
    if "daemon" in way:
        return f'( setsid sh -c "({sleep} </dev/null >/dev/null 2>&1 &) " )'
    if "session" in way:
        return f"setsid {sleep} </dev/null >/dev/null 2>&1 &"
    if "bare" in way:
        return f"env -i {sleep} &"
    return f"{sleep} &"


WAYS = ["child", "deaf child", "bare child", "session", "deaf session", "daemon", "deaf daemon"]


@contextmanager
def interrupted_after(seconds: float, error: type[BaseException], again: float = 0.0) -> Iterator[None]:
    """A signal whose handler raises in the main thread, as the worker's does."""

    def handler(signum: int, frame: object) -> None:
        raise error

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, seconds, again)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("way", WAYS)
def test_what_a_command_left_behind_ends_with_it(census: Census, way: str) -> None:
    begin = time.monotonic()
    assert run(["sh", "-c", f"{family(census.name, way)}\necho done"], kill_after=0.3).stdout == "done\n"
    assert census.alive() == []
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize("way", WAYS)
def test_a_timeout_ends_the_whole_family(census: Census, way: str) -> None:
    begin = time.monotonic()
    with pytest.raises(ProcessTimedOut):
        run(["sh", "-c", f"{family(census.name, way)}\nsleep 600"], timeout=0.3, kill_after=0.3)
    assert census.alive() == []
    assert time.monotonic() - begin < 6


def test_a_group_is_awaited_until_the_last_of_it_has_died(census: Census) -> None:
    crowd = f"sh -c '{DEAF}; sleep 600; : {census.name}' &"
    leader = subprocess.Popen(["sh", "-c", f"{crowd} exit"], start_new_session=True)
    leader.wait()
    [member] = census.grows_to(1)
    waiting = Aside(descendants.await_group, leader.pid, 60)
    with pytest.raises(AssertionError, match="did not end"):
        waiting.end(0.1)
    os.killpg(leader.pid, signal.SIGKILL)
    assert waiting.end() is None
    descendants.await_group(leader.pid, 60)
    assert not member.is_running() or member.status() == psutil.STATUS_ZOMBIE


def test_a_command_that_ignores_term_is_killed_after_its_grace_and_not_before(census: Census) -> None:
    begin = time.monotonic()
    with pytest.raises(ProcessTimedOut) as caught:
        run(["sh", "-c", f"{DEAF}; while :; do sleep 0.01; done; : {census.name}"], timeout=0.2, kill_after=0.5)
    assert 0.7 <= time.monotonic() - begin < 4
    assert caught.value.signal == signal.SIGKILL
    assert census.alive() == []


def test_the_grace_is_kill_after_of_the_settings(census: Census, store_path: Path, settings: object) -> None:
    settings.GRACEFUL = {**settings.GRACEFUL, "KILL_AFTER": 0.2}  # type: ignore[attr-defined]
    begin = time.monotonic()
    with pytest.raises(ProcessTimedOut):
        run(["sh", "-c", f"{DEAF}; while :; do sleep 0.01; done; : {census.name}"], timeout=0.2)
    assert 0.4 <= time.monotonic() - begin < 4


@pytest.mark.parametrize("whom", ["itself", "its parent"])
def test_a_cancel_from_another_thread_ends_it_and_raises_with_the_reason(census: Census, whom: str) -> None:
    with process("parent") as parent, process("child") as child:
        running = Aside(child.run, census.sleeper("echo begun"))
        census.grows_to(1)
        begin = time.monotonic()
        (child if whom == "itself" else parent).cancel("enough")
        error = running.end(5)
        assert isinstance(error, Cancelled)
        assert error.reason == "enough"
        assert time.monotonic() - begin < 3
        assert census.alive() == []
        cause = error.__cause__
        assert isinstance(cause, ProcessFailed)
        assert (cause.cancelled, cause.signal, cause.stdout) == (True, signal.SIGTERM, "begun\n")


def test_cancelling_one_child_leaves_its_sibling_alone(census: Census) -> None:
    with process("parent") as parent:
        first, second = Process("first", parent), Process("second", parent)
        running = [Aside(found.run, census.sleeper()) for found in (first, second)]
        census.grows_to(2)
        first.cancel()
        assert isinstance(running[0].end(5), Cancelled)
        assert len(census.alive()) == 1
        assert running[1].error is None
        second.cancel()
        assert isinstance(running[1].end(5), Cancelled)


@pytest.mark.parametrize("error", [KeyboardInterrupt, Cancelled, ValueError])
def test_an_exception_out_of_a_signal_handler_ends_it_first_and_travels_on(
    census: Census, error: type[BaseException]
) -> None:
    cleaned = []
    with pytest.raises(error), tempfile.TemporaryDirectory() as directory:  # noqa: PT012
        try:
            with interrupted_after(0.3, error):
                run(["sh", "-c", f"{family(census.name, 'session')}\nsleep 600"], cwd=directory)
        finally:
            cleaned.append((census.alive(), Path(directory).is_dir()))
    assert cleaned == [([], True)]
    assert not Path(directory).exists()


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_second_exception_during_the_grace_kills_at_once(census: Census) -> None:
    """It may come between ``open`` and ``with``: that file is closed by its end, with a warning."""
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt), interrupted_after(0.3, KeyboardInterrupt, 0.3):
        run(["sh", "-c", f"{DEAF}; while :; do sleep 0.01; done; : {census.name}"], kill_after=60)
    assert time.monotonic() - begin < 10
    assert census.alive() == []
    assert not families.any_left()


def test_an_exception_at_any_moment_leaves_nothing_behind() -> None:
    """Also in the middle of ``Popen``, when nobody has the child's number yet. In a process of its own, because what
    is interrupted there leaves pipes to the garbage collector.
    """
    script = (
        "import signal, psutil\n"
        "from django_graceful import families, run\n"
        "signal.signal(signal.SIGALRM, signal.default_int_handler)\n"
        "run(['true'])\n"
        "hits = 0\n"
        "for n in range(60):\n"
        "    try:\n"
        "        signal.setitimer(signal.ITIMER_REAL, 0.0002 + n * 0.0002)\n"
        "        run(['sh', '-c', 'sleep 600; :'])\n"
        "    except KeyboardInterrupt:\n"
        "        hits += 1\n"
        "print(hits, psutil.Process().children(recursive=True), families.any_left())\n"
    )
    env = {**os.environ, "PYTHONPATH": os.getcwd(), "DJANGO_SETTINGS_MODULE": "tests.settings"}
    assert run([sys.executable, "-c", script], env=env).stdout == "60 [] False\n"


def test_a_child_whose_number_got_lost_is_found_by_its_mark(census: Census, monkeypatch: pytest.MonkeyPatch) -> None:
    class Lost(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            for stream in (self.stdout, self.stderr):
                assert stream is not None
                stream.close()
            assert census.grows_to(1)
            self.returncode = 0  # nobody warns that it was not waited for
            raise KeyboardInterrupt

    run(["true"])
    before = psutil.Process().children()
    with monkeypatch.context() as patched:
        patched.setattr(subprocess, "Popen", Lost)
        with pytest.raises(KeyboardInterrupt):
            run(census.sleeper())
    assert census.alive() == []
    assert psutil.Process().children() == before


def test_a_process_in_the_middle_of_exec_is_found(census: Census) -> None:
    """It has no environment for a moment, and ``Popen`` returns in that moment."""
    for _ in range(40):
        mark = fresh_mark()
        child = subprocess.Popen(["sh", "-c", "exec env sleep 600"], env={**os.environ, VARIABLE: mark})
        assert find_marked(mark) == [child.pid]
        assert end_marked(mark) == []
        child.wait()


def test_only_what_carries_the_mark_is_ended(census: Census) -> None:
    """Neighbours: one in our own session, one with the mark of another run, one with a mark that only begins alike."""
    mark = fresh_mark()
    marks = [None, fresh_mark(), f"{mark}0", f"x{mark}"]
    neighbours = [
        subprocess.Popen(["sleep", "600"], env={**os.environ} if found is None else {**os.environ, VARIABLE: found})
        for found in marks
    ]
    victim = subprocess.Popen(["sleep", "600"], env={**os.environ, VARIABLE: f"outer/{mark}/inner"})
    try:
        until(lambda: find_marked(mark) == [victim.pid], "the victim to be found")
        with pytest.raises(ProcessTimedOut):
            run(["sh", "-c", f"{family(census.name, 'session')}\nsleep 600"], timeout=0.3)
        assert end_marked(mark) == []
        assert [neighbour.poll() for neighbour in neighbours] == [None] * 4
        assert not psutil.pid_exists(victim.pid) or victim.wait(5) is not None
    finally:
        for found in [*neighbours, victim]:
            found.kill()
            found.wait()


@pytest.mark.parametrize(
    ("value", "mark", "does"),
    [
        ("a:b:c", "a:b:c", True),
        ("a:b:c", "a:b", True),
        ("a:b:c", "a", True),
        ("a:b:c", "a:b:c:d", False),
        ("a:bb:c", "a:b", False),
        ("x/a:b:c/y", "a:b", True),
        ("x/a:b", "a:b", True),
        ("", "a", False),
    ],
)
def test_a_mark_counts_whole_with_all_below_it(value: str, mark: str, does: bool) -> None:
    assert carries(f"A=1\0{VARIABLE}={value}\0B=2\0".encode(), mark) is does
    assert carries(f"{VARIABLE}={value}".encode(), mark) is does
    assert not carries(f"X{VARIABLE}={value}\0".encode(), mark)


def test_a_tree_does_not_end_itself() -> None:
    """A process that carries a mark sweeps nothing by it."""
    script = (
        "import os, subprocess\n"
        "from django_graceful.descendants import VARIABLE, end_marked\n"
        "mark = os.environ[VARIABLE].rpartition('/')[2]\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        "end_marked(mark)\n"
        "print(child.poll())\n"
        "child.kill(); child.wait()\n"
    )
    assert run([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": os.getcwd()}).stdout == "None\n"


def test_the_subprocess_dies_with_a_process_that_is_killed(census: Census) -> None:
    """No runner anywhere: a management command, say, in its main thread and in another. The direct child, that is:
    what that has started needs somebody who is left to end it.
    """
    script = (
        "import sys, threading\n"
        "from django_graceful import run\n"
        "other = threading.Thread(target=run, args=(sys.argv[1:],))\n"
        "other.start()\n"
        "run(sys.argv[1:])\n"
    )
    env = {**os.environ, "PYTHONPATH": os.getcwd(), "DJANGO_SETTINGS_MODULE": "tests.settings"}
    alone = [sys.executable, "-c", "import time; time.sleep(600)", census.name]
    command = [sys.executable, "-c", script, *alone]
    parent = subprocess.Popen(command, env=env)
    try:
        until(lambda: [found.cmdline() for found in census.alive()].count(alone) == 2, "two commands")
    finally:
        parent.kill()
        parent.wait()
    census.shrinks_to(0)


def test_many_threads_run_side_by_side_and_each_gets_its_own() -> None:
    running = [Aside(run, ["sh", "-c", f"sleep 0.0{n}; echo {n}; exit {n % 2}"], check=False) for n in range(1, 10)]
    assert [found.end() for found in running] == [None] * 9
    results = [found.result for found in running]
    assert [(r.stdout, r.returncode) for r in results] == [(f"{n}\n", n % 2) for n in range(1, 10)]


def test_what_threads_left_running_is_ended_by_end_all(census: Census) -> None:
    running = [Aside(run, census.sleeper()) for _ in range(3)]
    census.grows_to(3)
    families.end_all(1)
    assert census.alive() == []
    assert all(isinstance(found.end(), ProcessFailed) for found in running)
    assert not families.any_left()


def test_300_runs_leave_no_descriptor_thread_or_zombie() -> None:
    own = psutil.Process()
    run(["true"])
    before = (own.num_fds(), threading.active_count(), len(own.children(recursive=True)))  # some of other tests
    for n in range(300):
        if n % 3 == 0:
            run(["sh", "-c", "echo x; sleep 0.01 &"])
        elif n % 3 == 1:
            with pytest.raises(ProcessFailed):
                run(["false"])
        else:
            assert run(["cat"], input="x").stdout == "x"
    after = (own.num_fds(), threading.active_count(), len(own.children(recursive=True)))
    assert all(now <= then for now, then in zip(after, before, strict=True)), (before, after)
