"""What signals do to a ``GracefulCommand``: drain, hammer, kill; and what its caller is told."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.commands.toil.conftest import QUICK, Toiling, stopped
from tests.harness import Site, until

pytestmark = pytest.mark.process

TERM, INT, HUP, QUIT, USR2 = signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR2


@pytest.mark.parametrize("number", [TERM, INT, HUP])
def test_the_first_signal_stops_a_loop_at_its_next_safe_point(
    toil: Toiling, site: Site, number: signal.Signals
) -> None:
    running = toil("loop").says("begin")
    until(lambda: running.process.poll() is None and site.lines(), "it to work")
    running.send(number)
    assert running.end() == 128 + number
    assert site.lines()[1:] == ["cancelled shutdown", "cleanup"]
    assert running.err[0] == (
        f"toil: {number.name}: stops at its next safe point, in 25 s at the latest; again: at once\n"
    )
    assert re.fullmatch(rf"stopped at \d+ of 5000 \(rows\) after {number.name}; \d\.\d s", running.last)
    assert len(running.err) == 2


def test_waiting_in_a_nested_process_is_a_safe_point(toil: Toiling, site: Site) -> None:
    running = toil("waits").says("begin")
    begin = time.monotonic()
    assert running.send(TERM).end() == 143
    assert time.monotonic() - begin < 10  # HAMMER_AFTER is 25
    assert "cancelled shutdown" in site.lines()


def test_a_command_that_finishes_while_it_drains_has_its_own_exit_code(toil: Toiling, site: Site) -> None:
    running = toil("finishes", extra={"HAMMER_AFTER": 60}).says("begin").send(TERM)
    assert running.end() == 0
    (left,) = (float(line.split()[1]) for line in site.lines() if line.startswith("remaining"))
    assert 30 < left <= 60
    assert "end" in site.lines()
    assert re.fullmatch(r"finished after SIGTERM; \d\.\d s", running.last)


def test_subprocesses_go_on_until_the_safe_point_and_new_ones_may_start(toil: Toiling, site: Site) -> None:
    running = toil("unit").says("begin")
    until(lambda: len(psutil.Process(running.child).children()) == 1, "the subprocess to run")
    assert running.send(TERM).end() == 143
    assert site.lines()[1:] == ["unit True", "cancelled shutdown", "cleanup"]


def test_hammer_after_raises_in_blocking_python_code(toil: Toiling, site: Site) -> None:
    running = toil("sleep", extra={"HAMMER_AFTER": 1}).says("begin")
    begin = time.monotonic()
    assert running.send(TERM).end() == 143
    assert 1 <= time.monotonic() - begin < 15
    assert site.lines()[1:] == ["cancelled shutdown", "cleanup"]
    assert re.fullmatch(r"stopped at 3 after SIGTERM; \d\.\d s", running.last)


def test_an_interrupt_that_comes_just_before_a_call_that_blocks_is_repeated(toil: Toiling, site: Site) -> None:
    running = toil("unlucky", extra={"KILL_AFTER": 20}).says("ready")
    begin = time.monotonic()
    assert running.send(QUIT).end() == 131
    assert time.monotonic() - begin < 10
    assert site.lines()[2:] == ["cancelled shutdown", "cleanup"]


@pytest.mark.parametrize("numbers", [(QUIT,), (USR2,), (TERM, QUIT), (INT, USR2), (HUP, QUIT)])
def test_quit_and_usr2_hammer_at_once(toil: Toiling, site: Site, numbers: tuple[signal.Signals, ...]) -> None:
    running = toil("sleep").says("begin")
    begin = time.monotonic()
    for number in numbers:
        running.send(number)
        if len(numbers) > 1 and number is not QUIT:
            until(lambda: running.err, "the first to be taken")
    assert running.end() == 128 + numbers[0]
    assert time.monotonic() - begin < 10
    assert "cancelled shutdown" in site.lines()


@pytest.mark.parametrize("second", [TERM, INT, HUP])
def test_a_second_signal_within_milliseconds_hammers(toil: Toiling, site: Site, second: signal.Signals) -> None:
    running = toil("sleep").says("begin").send(TERM)
    until(lambda: running.err, "the first to be taken")
    begin = time.monotonic()
    assert running.send(second).end() == 143
    assert time.monotonic() - begin < 10
    assert "cancelled shutdown" in site.lines()


def test_term_and_int_in_one_moment_count_as_two(toil: Toiling, site: Site) -> None:
    running = toil("sleep").says("begin").send(signal.SIGSTOP)
    stopped(running.pid)
    begin = time.monotonic()
    running.send(TERM, INT, signal.SIGCONT)
    assert running.end() in (143, 130)
    assert time.monotonic() - begin < 10
    assert "cancelled shutdown" in site.lines()


def test_a_third_signal_kills_at_once(toil: Toiling, site: Site) -> None:
    running = toil("swallows", extra={"KILL_AFTER": 60}).says("begin").send(TERM)
    until(lambda: running.err, "the first to be taken")
    running.send(TERM).says("swallowed shutdown")
    begin = time.monotonic()
    assert running.send(TERM).end() == 137
    assert time.monotonic() - begin < 10
    assert re.fullmatch(r"killed after SIGTERM; \d\.\d s", running.last)


@pytest.mark.parametrize("way", ["swallows", "stuck"])
def test_what_does_not_stop_is_killed_after_kill_after(toil: Toiling, way: str) -> None:
    running = toil(way, extra=QUICK).says("begin")
    begin = time.monotonic()
    assert running.send(TERM).end() == 137
    assert 1 <= time.monotonic() - begin < 15
    assert re.fullmatch(r"killed after SIGTERM; \d+\.\d s", running.last)


def test_a_signal_before_handle_begins_is_not_lost(toil: Toiling, site: Site, tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    running = toil("sleep", "--hold", str(hold)).says("held").send(TERM)
    until(lambda: running.err, "the signal to be taken")
    hold.unlink()
    assert running.end() == 143
    assert not any(line.startswith("begin") for line in site.lines())


@pytest.mark.parametrize("way", ["sleep", "stuck"])
def test_the_hammer_before_handle_begins_is_not_lost(toil: Toiling, site: Site, tmp_path: Path, way: str) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    running = toil(way, "--hold", str(hold)).says("held").send(QUIT)
    hold.unlink()
    assert running.end() == 131
    assert not any(line.startswith(("begin", "stuck")) for line in site.lines())


def test_signals_that_reach_the_command_itself_do_nothing(toil: Toiling, site: Site) -> None:
    """A terminal, or ``docker stop`` by group, sends them to all; the supervisor decides."""
    running = toil("sleep", "--seconds", "2").says("begin")
    for number in (TERM, INT, HUP, QUIT, USR2, signal.SIGUSR1):
        psutil.Process(running.child).send_signal(number)
    assert running.end() == 0
    assert "end" in site.lines()
    assert running.err == []


def test_what_nohup_ignores_stays_ignored(toil: Toiling, site: Site) -> None:
    def ignore() -> None:
        signal.signal(HUP, signal.SIG_IGN)

    running = toil("sleep", "--seconds", "1", preexec_fn=ignore).says("begin").send(HUP)
    psutil.Process(running.child).send_signal(HUP)
    assert running.end() == 0
    assert running.err == []


def test_a_stop_signal_stops_both_and_no_deadline_passes_meanwhile(toil: Toiling, site: Site, tmp_path: Path) -> None:
    # a group of its own in our session: what is in an orphaned group is never stopped by the terminal's signals
    way = {"start_new_session": False, "process_group": 0}
    release = tmp_path / "release"
    running = toil("counts", extra={"HAMMER_AFTER": 60}, env={"TOIL_RELEASE": str(release)}, **way).says("begin")
    begin = time.monotonic()
    running.send(TERM)
    until(lambda: running.err, "the signal to be taken")
    running.send(signal.SIGTSTP)
    stopped(running.pid)
    stopped(running.child)
    release.touch()
    time.sleep(3)  # this is how long they are stopped
    assert site.lines()[1:] == []
    running.send(signal.SIGCONT)
    assert running.end() == 0
    (left,) = (float(line.split()[1]) for line in site.lines() if line.startswith("remaining"))
    assert left + time.monotonic() - begin > 62.5


@pytest.mark.parametrize("way", ["sleep", "stuck"])
def test_usr1_tells_where_the_command_is(toil: Toiling, way: str) -> None:
    running = toil(way).says("begin")
    if way == "stuck":
        running.says("stuck")
    running.send(signal.SIGUSR1)
    until(lambda: any(f"in {way}" in line for line in running.err), "the stack")
    assert running.process.poll() is None


def test_hooks_of_the_lifecycle_run_at_their_moments(toil: Toiling, site: Site) -> None:
    running = toil("hooks").says("hooked").send(TERM).says("at_shutdown")
    assert "at_hammer" not in site.lines()
    running.send(TERM)
    assert running.end() == 143
    lines = site.lines()
    assert sorted(lines[2:5]) == sorted(["at_shutdown", "at_hammer", "cancelled shutdown"]) or "at_hammer" in lines
    assert lines[-1] == "at_terminate"


def test_a_transaction_is_rolled_back_by_the_hammer(toil: Toiling, site: Site, tmp_path: Path) -> None:
    import sqlite3

    file = tmp_path / "db.sqlite3"
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE toil (n)")
    database.close()
    running = toil("transaction", env={"GRACEFUL_TEST_DB": str(file)}).says("inserted").send(QUIT)
    assert running.end() == 131
    database = sqlite3.connect(file)
    assert database.execute("SELECT count(*) FROM toil").fetchone() == (0,)
    database.close()


def test_cleanup_after_the_hammer_has_its_time_and_no_more(toil: Toiling, site: Site) -> None:
    running = toil("lingers", extra={"KILL_AFTER": 1}).says("comes to linger").send(QUIT).says("lingering")
    assert running.end() == 137
    assert "lingered" not in site.lines()


def test_a_fork_of_the_command_obeys_signals_as_any_process(toil: Toiling, site: Site) -> None:
    running = toil("forks", python=("-W", "ignore::DeprecationWarning"))
    assert running.end() == 0, running.err
    assert "exitcode -15" in site.lines()
