"""A ``GracefulCommand`` that is called by code: in place, as a process below the current one, no signal touched."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_graceful import Cancelled, Process, current_process, process
from django_graceful.management import GracefulCommand
from django_graceful.management.typed import typed
from django_graceful.processes import roots
from tests.site.management.commands.toil import Command as Toil


@pytest.fixture(autouse=True)
def out(tmp_path: Path, store_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """What the command has said."""
    file = tmp_path / "out.txt"
    monkeypatch.setenv("GRACEFUL_TEST_OUT", str(file))
    return lambda: file.read_text().splitlines()


class Probe(GracefulCommand):
    """Hands its process to the test."""

    seen: Process
    act: Callable[[Probe], Any] = lambda self: None

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("files", nargs="*")
        parser.add_argument("--api-token")
        parser.add_argument("--dry-run", action="store_true")
        parser.add_argument("-n", "--number", type=int, default=3)

    def handle(self, *args: Any, **options: Any) -> Any:
        self.seen = self.process
        assert current_process() is self.process
        return type(self).act(self)


def test_its_output_is_where_the_caller_wants_it() -> None:
    out = io.StringIO()
    assert call_command("toil", "answers", stdout=out) == "the answer"
    assert out.getvalue() == "the answer\n"


def test_it_runs_in_this_process_and_touches_no_signal(out: Callable[[], list[str]]) -> None:
    numbers = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
    before = [signal.getsignal(number) for number in numbers], signal.pthread_sigmask(signal.SIG_BLOCK, [])
    call_command("toil", "answers")
    assert before == ([signal.getsignal(number) for number in numbers], signal.pthread_sigmask(signal.SIG_BLOCK, []))
    assert out()[0].split()[1] == str(os.getpid())


def test_it_is_a_root_of_kind_command_while_it_runs() -> None:
    command = Probe()
    command.act = None  # type: ignore[assignment]
    Probe.act = lambda self: self.__dict__.update(listed=self.process in roots())  # type: ignore[method-assign]
    call_command(command)
    assert (command.seen.kind, command.seen.parent, command.__dict__["listed"]) == ("command", None, True)
    assert command.seen not in roots()


def test_below_a_job_it_is_one_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    command = Probe()
    with process("job") as job:
        call_command(command)
        assert current_process() is job
    assert command.seen.parent is job


def test_a_cancel_of_what_is_around_it_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    command = Probe()
    with process("job") as job:
        monkeypatch.setattr(Probe, "act", lambda self: (job.cancel(), self.process.check()))
        with pytest.raises(Cancelled):
            call_command(command)


def test_it_does_not_begin_in_work_that_is_to_stop() -> None:
    command = Probe()
    with process("job") as job:
        job.cancel()
        with pytest.raises(Cancelled):
            call_command(command)
    assert not hasattr(command, "seen")


@pytest.mark.parametrize(("way", "error"), [("fails", CommandError), ("raises", ValueError), ("exits", SystemExit)])
def test_its_errors_are_its_callers(way: str, error: type[BaseException]) -> None:
    with pytest.raises(error):
        call_command("toil", way)
    assert current_process() is None


def test_its_description_is_what_one_would_type_without_secrets() -> None:
    command = Probe()
    call_command(command, "a b", "c", "--api-token", "geheim", dry_run=True, verbosity=0)
    assert command.seen.description == f"{__name__.rpartition('.')[2]} 'a b' c --api-token '***' --dry-run"


def test_defaults_are_not_typed() -> None:
    parser = Probe().create_parser("", "probe")
    assert typed(parser, {"files": [], "number": 3, "skip_checks": True, "dry_run": False}) == []
    assert typed(parser, {"number": 4, "traceback": True, "unknown": 1}) == ["--number", "4"]


def test_a_command_that_nobody_has_started_has_a_process_too() -> None:
    command = Toil()
    assert (command.process.kind, command.process.description, command.process.stop) == ("command", "toil", None)
    assert command.process not in roots()


@pytest.mark.parametrize("where", ["in a thread", "in a process"])
def test_a_command_line_is_run_in_place_where_a_supervisor_has_no_place(
    where: str, capsys: pytest.CaptureFixture[str], out: Callable[[], list[str]]
) -> None:
    def go() -> None:
        Toil(stdout=sys.stdout).run_from_argv(["manage.py", "toil", "answers", "--skip-checks"])

    if where == "in a thread":
        thread = threading.Thread(target=go)
        thread.start()
        thread.join(30)
    else:
        with process("job"):
            go()
    assert out()[0].split()[1] == str(os.getpid())
    assert capsys.readouterr().out == "the answer\n"
