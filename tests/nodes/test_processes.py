"""Processes as a table: their ids, who is listed, and how a cancel reaches all below it."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from django_graceful import Cancelled, Process, ProcessFailed, current_process, process, processes
from django_graceful.nodes.names import execution_id, execution_of, node_name
from django_graceful.processes import Stop, enter, leave, roots
from tests.harness import until
from tests.nodes.conftest import in_a_fork
from tests.processes.conftest import Aside


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """Nothing of another test runs, and nothing is left."""
    assert roots() == ()
    yield
    assert roots() == ()


def twice(one: Process) -> None:
    one.cancel(by="x")
    one.cancel(by="y")


def test_an_id_is_the_nodes_name_and_a_number_that_rises() -> None:
    first, second = Process("a"), Process("b")
    assert re.fullmatch(r"[0-9a-f]{8}", node_name())
    assert [one.id.split(".")[0] for one in (first, second)] == [node_name()] * 2
    assert int(first.id.split(".")[1]) < int(second.id.split(".")[1])


def test_a_process_keeps_its_id() -> None:
    one = Process("a")
    assert one.id == one.id


def test_a_fork_has_a_name_of_its_own_and_lists_nothing_of_its_parent() -> None:
    name = node_name()
    with process("here"):
        assert len(roots()) == 1
        assert in_a_fork(roots) == "()"
        assert in_a_fork(node_name) not in ("", name)
        assert len(roots()) == 1
    assert node_name() == name


def test_what_a_fork_begins_below_an_inherited_process_is_a_root_there_and_heeds_it() -> None:
    def check() -> object:
        with process("below") as below:
            parent = below.parent
            assert parent is not None
            listed = [one.id for one in roots()] == [below.id] != [parent.id]
            parent.cancel()
            return listed, below.stopping

    with process("here"):
        assert in_a_fork(check) == "(True, True)"


def test_ids_of_executions_name_their_store_and_execution() -> None:
    assert execution_id("default", 0x1000000002A) == "default.x1000000002a"
    assert execution_of("default.x1000000002a") == ("default", 0x1000000002A)
    assert execution_of("a.xb.x1f") == ("a.xb", 31)
    assert [execution_of(text) for text in ("0a1b2c3d.12", "default.x", "default.xyz", "", "x1")] == [None] * 5


def test_roots_are_listed_oldest_first_from_any_thread_and_children_are_not() -> None:
    with process("a") as a, process("below a"):
        inside, go_on = threading.Event(), threading.Event()

        def other() -> None:
            with process("b"):
                inside.set()
                go_on.wait(10)

        aside = Aside(contextvars.Context().run, other)
        assert inside.wait(10)
        assert [one.description for one in roots()] == ["a", "b"]
        go_on.set()
        assert aside.end() is None
        assert roots() == (a,)


def test_making_a_process_lists_it_nowhere_and_entering_does() -> None:
    made = Process("by hand", kind="request")
    assert roots() == ()
    enter(made)
    assert roots() == (made,)
    assert current_process() is made
    leave(made)
    assert current_process() is None


def test_kind_and_system_are_kept() -> None:
    with process("a", kind="command", system=True) as a, process("b") as b:
        assert (a.kind, a.system, b.kind, b.system) == ("command", True, "", False)


def test_an_async_process_has_a_kind_too() -> None:
    async def main() -> str:
        async with process("a", kind="request") as a:
            return a.kind

    assert asyncio.run(main()) == "request"


def test_nobody_has_asked_at_first() -> None:
    with process("a") as a:
        assert a.stop is None


def test_a_stop_says_who_why_and_when_and_the_first_one_counts() -> None:
    begin = time.time()
    with process("a") as a:
        a.cancel(by="ada", note="wrong list")
        a.cancel("timeout", by="bob")
        stop = a.stop
        assert stop is not None
        assert (stop.reason, stop.by, stop.note, stop.stopping_at) == ("cancel", "ada", "wrong list", None)
        assert begin <= stop.asked_at <= time.time()


def test_who_and_why_travel_with_the_exception() -> None:
    with process("a") as a:
        a.cancel(by="ada", note="wrong list")
        with pytest.raises(Cancelled) as caught:
            a.check()
    assert (caught.value.by, caught.value.note, str(caught.value)) == ("ada", "wrong list", "cancel")


def test_check_stamps_when_the_stop_was_heard_once() -> None:
    with process("a") as a:
        a.cancel()
        with pytest.raises(Cancelled):
            a.check()
        assert a.stop is not None
        heard = a.stop.stopping_at
        assert heard is not None
        assert a.stop.asked_at <= heard <= time.time()
        with pytest.raises(Cancelled):
            a.check()
        assert a.stop.stopping_at == heard


def test_below_a_cancelled_process_each_has_its_own_stamps() -> None:
    with process("a") as a, process("b") as b:
        a.cancel("timeout", by="ada", note="late")
        with pytest.raises(Cancelled, match="timeout"):
            b.check()
        assert a.stop is not None
        assert b.stop is not None
        assert a.stop.stopping_at is None
        assert b.stop.stopping_at is not None
        assert (b.stop.reason, b.stop.by, b.stop.note, b.stop.asked_at) == ("timeout", "ada", "late", a.stop.asked_at)


def test_the_hook_is_called_once_with_the_process_in_the_cancellers_thread_after_the_stop_is_set() -> None:
    calls: list[tuple[Process, int, Stop | None]] = []
    with process("a") as a:
        a.on_cancel = lambda found: calls.append((found, threading.get_ident(), found.stop))
        assert Aside(twice, a).end() is None
        assert [(found, stop.by) for found, _, stop in calls if stop] == [(a, "x")]
        assert calls[0][1] != threading.get_ident()


def test_hooks_below_are_called_too_and_only_once() -> None:
    calls: list[str] = []
    with process("a") as a, process("b") as b, process("c") as c:
        for one in (a, b, c):
            one.on_cancel = lambda found: calls.append(found.description)
        b.cancel()
        assert calls == ["b", "c"]
        a.cancel()
        assert calls == ["b", "c", "a"]


def test_a_hook_that_raises_is_logged_and_those_below_are_called(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[Process] = []
    with process("broken") as a, process("b") as b:
        a.on_cancel = lambda found: 1 // 0
        b.on_cancel = calls.append
        with caplog.at_level(logging.ERROR, "django_graceful.processes"):
            a.cancel()
        assert calls == [b]
        assert "broken" in caplog.text
        assert "ZeroDivisionError" in caplog.text


def test_a_child_that_begins_below_a_cancelled_process_is_asked_at_once() -> None:
    calls: list[Process] = []
    with process("a") as a:
        a.cancel(by="ada")
        with pytest.raises(Cancelled):
            a.check()
        child = Process("late", a)
        child.on_cancel = calls.append
        enter(child)
        assert calls == [child]
        assert child.stop is not None
        assert (child.stop.by, child.stop.stopping_at) == ("ada", None)
        leave(child)


def test_of_many_cancels_at_once_one_counts() -> None:
    """Threads are made to change as often as can be; each round is a race of four cancels."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(50):
            calls: list[Process] = []
            made, barrier = Process("raced"), threading.Barrier(4)
            made.on_cancel = calls.append

            def race(name: str, made: Process = made, barrier: threading.Barrier = barrier) -> None:
                barrier.wait(10)
                made.cancel(by=name)

            threads = [Aside(race, str(n)) for n in range(4)]
            assert [thread.end() for thread in threads] == [None] * 4
            assert calls == [made]
    finally:
        sys.setswitchinterval(before)


def test_a_process_in_another_context_is_cancelled_with_its_parent() -> None:
    with process("a") as a:
        context = contextvars.copy_context()
        child = context.run(process("b").__enter__)
        a.cancel()
        assert child.stop is not None
        context.run(leave, child)


@pytest.mark.process
def test_commands_are_there_while_they_run_without_credentials() -> None:
    with process("a") as a:
        aside = Aside(a.run, ["sh", "-c", "sleep 600", "x", "--password", "hunter22"])
        until(lambda: a.commands, "the command")
        ((pid, command),) = a.commands.items()
        assert command == "sh -c 'sleep 600' x --password '***'"
        os.kill(pid, 0)
        a.cancel()
        assert isinstance(aside.end(), Cancelled)
        assert a.commands == {}


def test_a_command_that_can_not_be_started_is_not_listed() -> None:
    with process("a") as a:
        with pytest.raises(ProcessFailed):
            a.run(["/no/such/program"])
        assert a.commands == {}


def test_details_are_empty_where_nothing_more_is_known() -> None:
    assert processes.Process("a").details == {}
