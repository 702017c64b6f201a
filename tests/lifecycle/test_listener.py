"""The signals of the master: what each means in each phase, and that none is lost on its way to the loop."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from django_graceful.lifecycle import Event, Phase
from django_graceful.runner.listener import heed

TERM, INT, QUIT, HUP, USR2 = signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR2
AT_WORK = (Phase.RUNNING, Phase.QUIET)


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize(
    ("number", "event"),
    [
        (TERM, Event.STOP),
        (INT, Event.STOP),
        (QUIT, Event.HAMMER),
        (USR2, Event.HAMMER),
        (signal.SIGTSTP, Event.QUIET),
        (signal.SIGCONT, Event.RESUME),
    ],
)
def test_each_signal_is_one_event_in_every_phase(phase: Phase, number: int, event: Event) -> None:
    assert heed(number, phase, restart=False) == (event, False)


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("restart", [False, True])
def test_hup_asks_for_a_restart_while_work_is_taken_and_changes_nothing_later(phase: Phase, restart: bool) -> None:
    assert heed(HUP, phase, restart) == ((Event.STOP, True) if phase in AT_WORK else (None, restart))


@pytest.mark.parametrize("number", [TERM, INT])
def test_the_first_term_after_hup_calls_the_restart_off_and_hastens_nothing(number: int) -> None:
    assert heed(number, Phase.DRAINING, restart=True) == (None, False)
    assert heed(number, Phase.DRAINING, restart=False) == (Event.STOP, False)


def test_quit_after_hup_hammers_and_ends_and_usr2_hammers_and_starts_again() -> None:
    assert heed(QUIT, Phase.DRAINING, restart=True) == (Event.HAMMER, False)
    assert heed(USR2, Phase.DRAINING, restart=True) == (Event.HAMMER, True)


PROGRAM = textwrap.dedent("""
    import asyncio, os, signal, sys, time
    from django_graceful.runner.listener import Listener

    heard, alarms = [], []
    listener = Listener(lambda: alarms.append(1))

    def tell(*words):
        os.write(1, (" ".join(map(str, words)) + "\\n").encode())

    def wait(word):
        tell(word)
        sys.stdin.readline()

    wait("before")
    child = os.fork()
    if child == 0:
        tell("child", sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
        os._exit(0)
    os.waitpid(child, 0)
    listener.start()
    wait("started")

    async def live():
        listener.deliver(heard.append)
        wait("stuck")  # the loop does not turn, the thread does
        tell("alarms", len(alarms))
        while len(heard) < 5:
            await asyncio.sleep(0.01)
        listener.hold()

    asyncio.run(live())
    wait("over")
    late = listener.stop()
    tell("heard", *heard, "late", *late, "mask", sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
""")


@pytest.mark.process
def test_signals_count_before_the_thread_before_the_loop_while_it_is_stuck_and_after_it() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def expect(word: str) -> str:
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        assert line.startswith(word), line
        return line

    def go() -> None:
        assert process.stdin is not None
        process.stdin.write("\n")

    expect("before")
    process.send_signal(TERM)
    go()
    assert expect("child") == "child []"
    expect("started")
    process.send_signal(INT)
    wait_until_taken(process.pid)
    go()
    expect("stuck")
    for number in (HUP, QUIT, USR2):
        process.send_signal(number)
        wait_until_taken(process.pid)
    go()
    assert expect("alarms") == "alarms 5"
    expect("over")
    process.send_signal(TERM)
    wait_until_taken(process.pid)
    go()
    last = expect("heard")
    assert last == f"heard {TERM:d} {INT:d} {HUP:d} {QUIT:d} {USR2:d} late {TERM:d} mask []"
    assert process.wait(10) == 0
    process.stdin.close()
    process.stdout.close()


def wait_until_taken(pid: int) -> None:
    """Until no signal is pending for the process."""
    for _ in range(3000):
        with open(f"/proc/{pid}/status") as file:
            pending = [line for line in file if line.startswith(("ShdPnd", "SigPnd"))]
        if all(int(line.split()[1], 16) == 0 for line in pending):
            return
        os.sched_yield()
        asyncio.run(asyncio.sleep(0.01))
    raise AssertionError("signals stay pending")
