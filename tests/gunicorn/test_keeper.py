"""The keeper of the sidecar, with small programs in place of arbiter and runner."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from django_graceful.gunicorn import keeper
from tests.harness import PATIENCE, until

WORD = {"wanted": True, "settings": "site.settings", "paths": ["/srv/site"], "limit": 5.0}


def test_the_pause_doubles_up_to_half_a_minute() -> None:
    assert [keeper.pause(n) for n in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert keeper.pause(10_000) == 30


def test_the_runner_gets_the_workers_settings_and_nothing_of_the_service_manager() -> None:
    ours = {"A": "b", "NOTIFY_SOCKET": "/s", "LISTEN_FDS": "1", "PYTHONPATH": "/own", "DJANGO_SETTINGS_MODULE": "x"}
    assert keeper.environment(ours, WORD) == {
        "A": "b",
        "PYTHONPATH": "/srv/site:/own",
        "DJANGO_SETTINGS_MODULE": "site.settings",
    }
    assert keeper.environment({}, WORD)["PYTHONPATH"] == "/srv/site"


class Kept:
    """A keeper whose runner is a small program that tells what it hears in a file."""

    def __init__(self, place: Path, program: str) -> None:
        self.said = place / "said"
        self._read, self.words = os.pipe()
        code = f"import os, signal, sys, time\nsay = lambda *w: print(*w, file=open({str(self.said)!r}, 'a'))\n"
        command = [sys.executable, "-c", code + textwrap.dedent(program)]
        self.process = subprocess.Popen(
            [sys.executable, "-I", keeper.__file__, str(os.getpid()), str(self._read), *command],
            pass_fds=[self._read],
            stderr=subprocess.PIPE,
            text=True,
        )

    def tell(self, **word: object) -> None:
        os.write(self.words, json.dumps({**WORD, **word}).encode() + b"\n")

    def lines(self) -> list[str]:
        return self.said.read_text().splitlines() if self.said.exists() else []

    def says(self, line: str, times: int = 1) -> None:
        until(lambda: self.lines().count(line) >= times, f"{times} times {line!r}, not {self.lines()}")

    def end(self) -> str:
        """What it has logged, once it has ended by itself."""
        _, said = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == 0
        return said

    def close(self) -> None:
        family = [] if self.process.poll() is not None else psutil.Process(self.process.pid).children()
        self.process.kill()
        for runner in family:
            runner.kill()
        self.process.communicate()
        os.close(self._read)
        os.close(self.words)


Keep = Callable[[str], Kept]

OBEDIENT = """
def heed(number, frame):
    say(signal.Signals(number).name)
    if number == signal.SIGTERM: sys.exit()
for number in (signal.SIGTERM, signal.SIGHUP): signal.signal(number, heed)
say("up")
while True: time.sleep(60)
"""
SLOW = """
signal.signal(signal.SIGTERM, lambda *_: say("TERM"))
say("up")
while True: time.sleep(60)
"""


@pytest.fixture
def keep(tmp_path: Path) -> Iterator[Keep]:
    made: list[Kept] = []

    def start(program: str) -> Kept:
        made.append(Kept(tmp_path, program))
        return made[-1]

    yield start
    for kept in made:
        kept.close()


@pytest.mark.process
def test_it_ends_when_no_runner_is_wanted(keep: Keep) -> None:
    kept = keep(OBEDIENT)
    kept.tell(wanted=False)
    assert kept.end() == ""
    assert kept.lines() == []


@pytest.mark.process
def test_it_waits_for_the_first_word_and_a_second_one_changes_nothing(keep: Keep) -> None:
    kept = keep(OBEDIENT)
    kept.tell()
    kept.tell()
    kept.says("up")
    kept.process.send_signal(signal.SIGTERM)
    assert kept.end() == ""
    assert kept.lines() == ["up", "SIGTERM"]


@pytest.mark.process
def test_a_later_word_may_say_that_none_is_wanted_any_more(keep: Keep) -> None:
    kept = keep(OBEDIENT)
    kept.tell()
    kept.says("up")
    kept.tell(wanted=False)
    kept.end()
    assert kept.lines() == ["up", "SIGTERM"]


@pytest.mark.process
def test_a_reload_is_passed_on_and_each_further_term_too(keep: Keep) -> None:
    kept = keep(OBEDIENT.replace("sys.exit()", "say('more')"))
    kept.tell()
    kept.says("up")
    kept.process.send_signal(signal.SIGHUP)
    kept.says("SIGHUP")
    for n in (1, 2):
        kept.process.send_signal(signal.SIGTERM)
        kept.says("more", n)


@pytest.mark.process
def test_a_runner_that_ends_is_started_again_ever_later_and_a_reload_starts_it_at_once(keep: Keep) -> None:
    kept = keep("say('up')\nsys.exit(3)")
    kept.tell()
    kept.says("up", 2)
    assert kept.process.stderr is not None
    first, second = kept.process.stderr.readline(), kept.process.stderr.readline()
    assert first == "sidecar: runqueues has ended with exit code 3; it is started again in 1 s\n"
    assert second == "sidecar: runqueues has ended with exit code 3; it is started again in 2 s\n"
    kept.process.send_signal(signal.SIGHUP)
    assert kept.process.stderr.readline().endswith("in 1 s\n"), "the count begins anew"
    kept.process.send_signal(signal.SIGTERM)
    kept.end()


@pytest.mark.process
def test_a_runner_that_exceeds_its_limit_is_killed(keep: Keep) -> None:
    kept = keep(SLOW)
    kept.tell(limit=-1.5)  # and the margin
    kept.says("up")
    kept.process.send_signal(signal.SIGTERM)
    assert "exceeds its limit and is killed" in kept.end()
    assert "TERM" in kept.lines()


@pytest.mark.process
def test_signals_that_come_before_it_can_heed_them_wait(keep: Keep) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP})
    try:
        kept = keep(OBEDIENT)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    kept.process.send_signal(signal.SIGHUP)
    kept.tell()
    kept.says("up")
    kept.process.send_signal(signal.SIGTERM)
    kept.end()
    assert kept.lines() == ["up", "SIGTERM"], "and the runner has them unblocked"
