"""Whatever way a ``GracefulCommand`` ends, nothing of it lives on, and its caller is told the truth (promise P5)."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from typing import Any

import psutil
import pytest

from tests.commands.toil.conftest import QUICK, STRICT, Toiling
from tests.harness import PATIENCE, Site, until
from tests.processes.conftest import Census

pytestmark = pytest.mark.process

TERM, KILL = signal.SIGTERM, signal.SIGKILL


def forked(site: Site) -> list[int]:
    """The pids of the fork that the command left, and of the fork of that one."""
    return [int(line.split()[1]) for line in site.lines() if line.startswith(("fork ", "forked "))]


def assert_nothing_left(site: Site, census: Census) -> None:
    assert census.alive() == []
    assert [psutil.pid_exists(pid) for pid in forked(site)] == [False, False]


def test_what_a_command_leaves_behind_ends_with_it(toil: Toiling, site: Site, census: Census) -> None:
    running = toil("leaves", python=("-W", "ignore::DeprecationWarning"), stdout=None, stderr=None)
    assert running.end() == 0
    assert_nothing_left(site, census)


@pytest.mark.parametrize("numbers", [(KILL,), (signal.SIGSEGV,)])
def test_a_command_that_is_killed_leaves_nothing_and_that_is_said(
    toil: Toiling, site: Site, census: Census, numbers: tuple[signal.Signals]
) -> None:
    running = toil("dies", python=("-W", "ignore::DeprecationWarning")).says("left")
    psutil.Process(running.child).send_signal(numbers[0])
    assert running.end() == 128 + numbers[0]
    assert running.last == ("killed" if numbers[0] == KILL else "ended by SIGSEGV")
    assert_nothing_left(site, census)


def test_a_kill_by_the_supervisor_leaves_nothing(toil: Toiling, site: Site, census: Census) -> None:
    running = toil("dies", extra=QUICK | {"KILL_AFTER": 0}, python=("-W", "ignore::DeprecationWarning")).says("left")
    running.send(signal.SIGQUIT)
    assert running.end() in (137, 131)
    assert_nothing_left(site, census)


@pytest.mark.parametrize("numbers", [(TERM,), (signal.SIGQUIT,)])
def test_a_deaf_subprocess_and_its_grandchild_in_a_session_of_its_own_end_at_the_hammer(
    toil: Toiling, site: Site, census: Census, numbers: tuple[signal.Signals]
) -> None:
    running = toil("runs", extra={"HAMMER_AFTER": 0.5, "KILL_AFTER": 5}).says("begin")
    until(lambda: len(census.alive()) >= 4, "supervisor, command, subprocess and grandchild")
    begin = time.monotonic()
    assert running.send(*numbers).end() == 128 + numbers[0]
    assert time.monotonic() - begin < 15
    assert site.lines()[1:] == ["cancelled shutdown", "cleanup"]
    assert census.alive() == []


def test_the_command_and_its_subprocess_die_with_the_supervisor(toil: Toiling, site: Site, census: Census) -> None:
    running = toil("plain").says("begin")
    census.grows_to(3)
    running.send(KILL)
    assert running.end() == -KILL
    census.shrinks_to(0, 5)
    assert site.lines()[1:] == []


def test_a_cancel_raises_at_once_and_is_told(toil: Toiling, site: Site) -> None:
    running = toil("cancels", env={"TOIL_THEN": "just_sleep"}).says("begin")
    begin = time.monotonic()
    assert running.end() == 1
    assert time.monotonic() - begin < 10
    assert site.lines()[1:] == ["cancelled cancel", "cleanup"]
    assert re.fullmatch(r"cancelled by ada: wrong list, at 12 of 50; \d\.\d s", running.last)
    assert len(running.err) == 1


@pytest.mark.parametrize("way", ["swallows", "lingers"])
def test_a_cancelled_command_that_does_not_stop_is_killed_after_its_grace(
    toil: Toiling, site: Site, census: Census, way: str
) -> None:
    running = toil("cancels", env={"TOIL_THEN": way}, extra=QUICK | {"KILL_AFTER": 60}).says("begin")
    begin = time.monotonic()
    assert running.end() == 137
    assert time.monotonic() - begin < 10
    assert re.fullmatch(r"killed at 12 of 50 after it was cancelled by ada: wrong list; \d\.\d s", running.last)
    assert census.alive() == []


def test_a_cancelled_subprocess_ends_with_its_grandchild(toil: Toiling, site: Site, census: Census) -> None:
    running = toil("cancels", env={"TOIL_THEN": "runs"}, extra={"CANCEL_GRACE": 4}).says("begin")
    assert running.end() == 1
    assert site.lines()[1:] == ["cancelled cancel", "cleanup"]
    assert census.alive() == []


def test_a_signal_after_a_cancel_neither_kills_nor_hides_it(toil: Toiling, site: Site) -> None:
    running = toil("cancels", env={"TOIL_THEN": "lingers"}, extra={"CANCEL_GRACE": 1.5}).says("lingering")
    begin = time.monotonic()
    running.send(TERM)
    assert running.end() == 137
    assert time.monotonic() - begin > 0.5, "the cleanup has its time"


def rows(site: Site) -> list[dict[str, Any]]:
    """The nodes of kind "command" that ``manage.py graceful processes`` shows."""
    found = site.manage("graceful", "processes", "--json")
    assert found.returncode == 0, found.stderr
    return [node for node in json.loads(found.stdout)["nodes"] if node["kind"] == "command" and node["processes"]]


def test_it_is_listed_with_its_arguments_and_without_its_secrets(toil: Toiling, site: Site, census: Census) -> None:
    running = toil("sleep", "--password", "geheim").says("begin")
    (node,) = rows(site)
    (row,) = node["processes"]
    assert row["id"] == site.lines()[0].split()[2]
    assert (row["kind"], row["description"]) == ("command", f"toil sleep {census.name} --password '***'")
    assert row["progress"] == {"done": 3, "total": None, "step": ""}
    assert (node["pid"], node["phase"], row["stop"]) == (running.child, "running", None)
    running.send(TERM)
    until(lambda: running.err, "the signal to be taken")
    until(lambda: rows(site)[0]["phase"] == "draining", "its phase to be shown")
    running.send(TERM)
    assert running.end() == 143
    assert rows(site) == []


def test_graceful_cancel_ends_it_from_another_process(toil: Toiling, site: Site, census: Census) -> None:
    running = toil("runs", extra={"CANCEL_GRACE": 4}).says("begin")
    until(lambda: len(census.alive()) >= 4, "supervisor, command, subprocess and grandchild")
    found = site.manage("graceful", "cancel", site.lines()[0].split()[2], "--reason", "wrong list")
    assert found.returncode == 0, found.stderr
    assert running.end() == 1
    assert re.fullmatch(r"cancelled by [^:]+: wrong list; \d\.\d s", running.last)
    assert census.alive() == []


def python(site: Site, code: str) -> subprocess.CompletedProcess[str]:
    """A program that is none of Django's."""
    command = [sys.executable, *STRICT, "-c", code]
    return subprocess.run(
        command, env=site.env, cwd=site.root, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def test_a_connection_that_is_open_when_it_starts_is_shared_by_nobody(site: Site) -> None:
    database = site.store.parent / "db.sqlite3"
    site.env["GRACEFUL_TEST_DB"] = str(database)
    found = python(
        site,
        """if True:
        import django
        django.setup()
        from django.core.management import ManagementUtility
        from django.db import connection
        cursor = connection.cursor()
        cursor.execute("CREATE TABLE toil (n integer)")
        cursor.execute("INSERT INTO toil VALUES (1), (2)")
        cursor.execute("BEGIN")
        cursor.execute("SELECT n FROM toil").fetchall()  # from now on it holds a lock, until it is closed
        ManagementUtility(["manage.py", "toil", "writes"]).execute()
        """,
    )
    assert (found.returncode, found.stderr) == (0, "")
    assert site.lines()[1:3] == ["open 0", "open 0"]
    with closing(sqlite3.connect(database)) as opened:
        assert opened.execute("SELECT n FROM toil ORDER BY n").fetchall() == [(1,), (2,), (3,)]


@pytest.mark.parametrize(
    ("way", "code", "out", "err"),
    [
        ("answers", 0, ["the answer\n"], []),
        ("fails", 3, [], ["CommandError: it did not work\n"]),
        ("exits", 7, [], []),
        ("unknown --nonsense", 2, [], None),
        ("raises", 1, [], None),
    ],
)
def test_without_a_signal_it_is_an_ordinary_command(
    toil: Toiling, site: Site, way: str, code: int, out: list[str], err: list[str] | None
) -> None:
    running = toil(*way.split())
    assert running.end() == code
    assert running.out == out
    if err is not None:
        assert running.err == err
    elif way == "raises":
        assert running.err[0].startswith("Traceback")
        assert running.err[-1] == "ValueError: nobody expected this\n"


def test_traceback_and_settings_are_understood(site: Site, toil: Toiling) -> None:
    running = toil("fails", "--traceback", "--settings", "tests.settings")
    assert running.end() == 1
    assert running.err[0].startswith("Traceback")


def test_help_is_shown(site: Site, toil: Toiling) -> None:
    running = toil("--help")
    assert running.end() == 0
    assert "Toils, as told." in "".join(running.out)


def test_python_finds_nothing_to_warn_of_in_development_mode(toil: Toiling, site: Site) -> None:
    running = toil("loop", python=("-X", "dev")).says("begin").send(TERM)
    assert running.end() == 143
    assert len(running.err) == 2, running.err
    running = toil("answers", python=("-X", "dev"))
    assert (running.end(), running.err) == (0, [])


def test_what_was_printed_before_is_printed_once(site: Site) -> None:
    code = (
        "import sys; from django.core.management import execute_from_command_line as go; "
        "sys.stdout.write('before '); go(['manage.py', 'toil', 'answers']); print('after')"
    )
    found = python(site, code)
    assert (found.stdout, found.stderr, found.returncode) == ("before the answer\nafter\n", "", 0)


def test_threads_that_an_app_has_started_are_no_obstacle(site: Site) -> None:
    code = (
        "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start(); "
        "from django.core.management import execute_from_command_line as go; go(['manage.py', 'toil', 'answers'])"
    )
    found = python(site, code)
    assert (found.stdout, found.stderr, found.returncode) == ("the answer\n", "", 0)


def test_nothing_is_left_in_the_store_but_what_others_find(toil: Toiling, site: Site) -> None:
    assert toil("answers").end() == 0
    assert not list((site.store / "nodes").glob("*.sock")), os.listdir(site.store)
